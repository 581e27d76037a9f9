"""The random view of the published fine-tuning: scale, crop and mirroring, drawn once for all frames of a clip.

Source: ``datasets/data_utils.py`` and ``datasets/transform.py`` of med-air/Endo-FM, commit 206427e.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from endofm.config import PreprocessConfig
from endofm.transforms.geometry import Box, resized_shape
from endofm.transforms.processor import Frames, normalize, resize

SHORT_SIDES = (256, 320)
"""Range of the shorter side, in pixels, for a crop of 224."""


@dataclass(frozen=True)
class TrainingView:
    """Random draws for one clip.

    Attributes:
        short_side: Pixels that the shorter side is resized to.
        top: First row of the crop in the resized frame.
        left: First column of the crop.
        flip: Whether the crop is mirrored left to right.
    """

    short_side: int
    top: int
    left: int
    flip: bool

    @classmethod
    def draw(
        cls,
        height: int,
        width: int,
        generator: np.random.Generator,
        *,
        crop_size: int = 224,
        short_sides: tuple[int, int] = SHORT_SIDES,
    ) -> TrainingView:
        """Draw a view in the published order: short side, row, column, mirror.

        As published, a position is drawn only along sides that are larger than the crop, and the last position is never
        drawn.

        Args:
            height: Rows of the source frame.
            width: Columns of the source frame.
            generator: Source of the draws.
            crop_size: Side of the crop in pixels.
            short_sides: Smallest and largest shorter side in pixels.
        """
        # The order of the draws is part of the published behaviour: a recorded sequence gives the same view.
        short_side = round(generator.uniform(*short_sides))
        rows, columns = resized_shape(height, width, short_side)
        top = int(generator.integers(0, rows - crop_size)) if rows > crop_size else 0
        left = int(generator.integers(0, columns - crop_size)) if columns > crop_size else 0
        return cls(short_side, top, left, bool(generator.uniform() < 0.5))


def training_clip(frames: Frames, view: TrainingView, config: PreprocessConfig) -> torch.Tensor:
    """Return the clip that a view shows.

    Args:
        frames: uint8 ``(time, height, width, 3)``, RGB; array, or tensor on any device.
        view: Random draws.
        config: Gives crop size, mean and standard deviation; its short side and crop position are not used.

    Returns:
        float32 ``(3, time, crop_size, crop_size)``, normalised, on the device of the frames.

    Raises:
        InputError: If the frames have the wrong type, or the view does not fit their size.
    """
    shape = resized_shape(frames.shape[-3], frames.shape[-2], view.short_side)
    pixels = resize(frames, shape, Box(view.top, view.left, config.crop_size, config.crop_size))
    clip = normalize(pixels, config.mean, config.std).permute(3, 0, 1, 2)
    return (clip.flip(-1) if view.flip else clip).contiguous()
