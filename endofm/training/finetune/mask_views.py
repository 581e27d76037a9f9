"""Random views of a clip and its masks: one geometry for the pixels of both."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from endofm.training.finetune.segmentation_config import ClipAugmentation
from endofm.training.views.view_colours import LUMA
from endofm.transforms.processor import Processor, stretch_values
from endofm.video.frames import UInt8Array

_SHAPES = "frames and masks must be (time, height, width, 3) and (time, height, width)"


@dataclass(frozen=True)
class MaskView:
    """A random view of one clip; all its frames share it.

    Attributes:
        matrix: 2 x 3 affine map from points of the view to points of the unchanged clip; both span [-1, 1] along x
            and y.
        brightness: Factor.
        contrast: Factor, about the mean grey value of each frame.
        saturation: Factor, about the grey value of each pixel.
    """

    matrix: tuple[tuple[float, float, float], tuple[float, float, float]] = ((1, 0, 0), (0, 1, 0))
    brightness: float = 1.0
    contrast: float = 1.0
    saturation: float = 1.0

    @classmethod
    def draw(cls, config: ClipAugmentation, generator: np.random.Generator) -> MaskView:
        """Draw a view: part of the frame, flips, rotation, colours, in this order.

        A rotated part may extend beyond the clip; there it shows the nearest pixels, labelled as background.
        """
        area = generator.uniform(*config.scale)
        # Uniform in the logarithm, so that a frame is stretched along either axis equally often.
        stretch = math.exp(generator.uniform(*np.log(config.aspect)))
        width = min(math.sqrt(area * stretch), 1.0)
        height = min(math.sqrt(area / stretch), 1.0)
        x, y = generator.uniform(-1, 1, 2) * (1 - np.array([width, height]))
        flip_x, flip_y = np.where(generator.random(2) < 0.5, -1, 1) if config.flip else (1, 1)
        angle = math.radians(generator.uniform(-config.rotation, config.rotation))
        cos, sin = math.cos(angle), math.sin(angle)
        a, b = float(width * flip_x), float(height * flip_y)
        factors = [1 + float(generator.uniform(-c, c)) for c in (config.brightness, config.contrast, config.saturation)]
        # A point of the view is rotated, then scaled and flipped, then shifted.
        matrix = ((a * cos, -a * sin, float(x)), (b * sin, b * cos, float(y)))
        return cls(matrix, *factors)


def view_of(frames: UInt8Array, masks: UInt8Array, view: MaskView, processor: Processor) -> tuple[Tensor, Tensor]:
    """Return a view of a clip, prepared for the model.

    Every pixel is interpolated once, from the source frame straight to the view: images bilinearly, masks by the
    nearest pixel.

    Args:
        frames: uint8 ``(time, height, width, 3)``, RGB.
        masks: uint8 ``(time, height, width)``.
        view: The view.
        processor: Size, statistics and order of channels of the model's input.

    Returns:
        float32 ``(3, time, size, size)`` and int64 ``(time, size, size)``.
    """
    assert frames.shape[:3] == masks.shape, _SHAPES
    _, height, width, _ = frames.shape
    geometry = processor.geometry(height, width)
    size = geometry.crop.height
    # Pixel centres of the view.
    centres = (np.arange(size) + 0.5) / size * 2 - 1
    x, y = np.meshgrid(centres, centres)
    (a, b, c), (d, e, f) = view.matrix
    inside = np.stack([a * x + b * y + c, d * x + e * y + f], axis=-1)  # in the unchanged clip, [-1, 1]
    beyond = torch.from_numpy((np.abs(inside) > 1).any(-1))
    inside = inside.clip(-1, 1)
    # From [-1, 1] to pixels of the clip, on to pixels of the source frame, and back to [-1, 1] for grid_sample, which
    # thus interpolates the source once rather than a clip that was resized before.
    points = geometry.to_source((inside + 1) / 2 * size)
    grid = torch.from_numpy(points / [width, height] * 2 - 1).float()
    grid = grid.expand(len(frames), size, size, 2)
    source = torch.from_numpy(np.ascontiguousarray(frames))
    if processor.config.values == "frame":
        source = stretch_values(source).to(torch.uint8)
    pixels = F.grid_sample(
        source.permute(0, 3, 1, 2).float(), grid, mode="bilinear", padding_mode="border", align_corners=False
    )
    labels = F.grid_sample(
        torch.from_numpy(np.ascontiguousarray(masks)).unsqueeze(1).float(),
        grid,
        mode="nearest",
        padding_mode="border",
        align_corners=False,
    )
    labels = labels.squeeze(1).long().masked_fill(beyond, 0)
    coloured = _coloured(pixels, view)
    prepared = processor.finish_pixels(coloured.permute(0, 2, 3, 1))
    return prepared.permute(3, 0, 1, 2).contiguous(), labels


def _coloured(pixels: Tensor, view: MaskView) -> Tensor:
    """Change colours of ``(time, 3, height, width)`` in [0, 255]: saturation, contrast, brightness."""
    if view.brightness == view.contrast == view.saturation == 1:
        return pixels
    weights = torch.tensor(LUMA["rgb"]).view(1, 3, 1, 1)
    grey = (pixels * weights).sum(1, keepdim=True)
    mean = grey.mean((2, 3), keepdim=True)
    pixels = grey + view.saturation * (pixels - grey)
    pixels = mean + view.contrast * (pixels - mean)
    return (view.brightness * pixels).clamp_(0, 255)
