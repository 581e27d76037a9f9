"""Published training views of clips with masks: crop, flip and rotation per frame, in Pillow.

Source: ``TransUNet/datasets/dataset_CVC_video.py`` and ``preprocess.py`` of med-air/Endo-FM, commit 206427e. Such a
clip is not coherent in space, which is kept for comparison with published numbers. Not kept: in the published code each
worker repeats the same flips in all epochs.
"""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from endofm.transforms.processor import Processor, stretch_values
from endofm.video.frames import UInt8Array

_BEFORE_CROP = 256 / 224
_ANGLE = 5.0


def published_view(
    frames: UInt8Array, masks: UInt8Array, processor: Processor, generator: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Return a random view of a clip by the published rule.

    Args:
        frames: uint8 ``(time, height, width, 3)``, RGB.
        masks: uint8 ``(time, height, width)``, classes.
        processor: The published preprocessing.
        generator: Random generator.

    Returns:
        float32 ``(3, time, size, size)`` and int64 ``(time, size, size)``.
    """
    size = processor.config.crop_size
    pairs = [_one(frame, mask, size, generator) for frame, mask in zip(frames, masks, strict=True)]
    pixels = torch.from_numpy(np.stack([image for image, _ in pairs])).float()
    labels = torch.from_numpy(np.stack([label for _, label in pairs])).long()
    return processor.finish_pixels(pixels).permute(3, 0, 1, 2).contiguous(), labels


def _one(
    frame: UInt8Array, mask: UInt8Array, size: int, generator: np.random.Generator
) -> tuple[UInt8Array, UInt8Array]:
    large = round(size * _BEFORE_CROP)
    stretched = stretch_values(frame).to(torch.uint8).numpy()
    image = Image.fromarray(stretched).resize((large, large), Image.Resampling.BILINEAR)
    label = Image.fromarray(mask).resize((large, large), Image.Resampling.NEAREST)
    top, left = generator.integers(0, large - size + 1, 2).tolist()
    box = (left, top, left + size, top + size)
    image, label = image.crop(box), label.crop(box)
    if generator.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        label = label.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    angle = float(generator.uniform(-_ANGLE, _ANGLE))
    image = image.rotate(angle, Image.Resampling.BILINEAR)  # corners become 0
    label = label.rotate(angle, Image.Resampling.NEAREST)
    return np.asarray(image), np.asarray(label)
