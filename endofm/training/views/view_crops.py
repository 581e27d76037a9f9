"""uint8 crops with the parameters drawn for them: the output of a data worker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from endofm.errors import InputError
from endofm.training.views.view_colours import Coefficients, colour_coefficients
from endofm.training.views.view_config import ViewConfig
from endofm.training.views.view_draws import ViewDraw, draw_views
from endofm.video.frames import UInt8Array


class ViewCrop(NamedTuple):
    """Description of a view before resizing; its pixels are in :class:`ViewCrops`.

    Attributes:
        frames: Number of frames.
        height: In pixels.
        width: In pixels.
        flip: Flip horizontally.
        colour: See :func:`~endofm.training.views.view_colours.colour_coefficients`.
    """

    frames: int
    height: int
    width: int
    flip: bool
    colour: Coefficients

    @property
    def num_values(self) -> int:
        """Number of values of its pixels."""
        return self.frames * self.height * self.width * 3


@dataclass(frozen=True, eq=False)
class ViewCrops:
    """The views of some clips before resizing, in one block of memory.

    A view's pixels are uint8 ``(time, height, width, 3)``, each view with its own size. Together they take about a
    third of the memory of the rendered float32 views, so they are what is sent between processes and to a device.

    Attributes:
        pixels: uint8, flat: clip by clip, within it view by view.
        views: The views of each clip.
    """

    pixels: Tensor
    views: tuple[tuple[ViewCrop, ...], ...]

    def __len__(self) -> int:
        """Number of clips."""
        return len(self.views)

    @classmethod
    def crop(cls, frames: UInt8Array, draws: Sequence[ViewDraw]) -> ViewCrops:
        """Crop the views of one clip from its frames.

        Args:
            frames: uint8 ``(time, height, width, 3)``, RGB.
            draws: Draws of each view, for frames of this size.

        Raises:
            InputError: If the frames have another shape or dtype, or a view extends beyond them.
        """
        if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3:
            raise InputError(f"frames must be uint8 (time, height, width, 3), got {frames.dtype} {frames.shape}")
        time, height, width, _ = frames.shape
        views = tuple(
            ViewCrop(
                len(draw.frames),
                draw.box.height,
                draw.box.width,
                draw.appearance.flip,
                colour_coefficients(draw.appearance),
            )
            for draw in draws
        )
        pixels = np.empty(sum(view.num_values for view in views), np.uint8)
        offset = 0
        for draw, view in zip(draws, views, strict=True):
            box = draw.box
            if box.bottom > height or box.right > width or not 0 <= min(draw.frames) <= max(draw.frames) < time:
                raise InputError(f"{draw} extends beyond a clip of {time} frames of {height} x {width} pixels")
            part = frames[:, box.top : box.bottom, box.left : box.right]
            out = pixels[offset : offset + view.num_values].reshape(*view[:3], 3)
            # mode="clip" writes straight into `out`; the default would buffer it. The indices were checked above.
            np.take(part, draw.frames, axis=0, out=out, mode="clip")
            offset += view.num_values
        return cls(torch.from_numpy(pixels), (views,))

    @classmethod
    def collate(cls, clips: Sequence[ViewCrops]) -> ViewCrops:
        """Join clips into a batch.

        Raises:
            InputError: If there are none.
        """
        if not clips:
            raise InputError("there are no clips to join")
        return cls(torch.cat([clip.pixels for clip in clips]), sum((clip.views for clip in clips), ()))

    def pin_memory(self) -> ViewCrops:
        """Return the crops with their pixels in pinned memory; called by ``DataLoader``."""
        return replace(self, pixels=self.pixels.pin_memory())

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> ViewCrops:
        """Return the crops with their pixels on a device."""
        return replace(self, pixels=self.pixels.to(device, non_blocking=non_blocking))

    def split(self) -> list[list[Tensor]]:
        """Return for each clip the pixels of its views, uint8 ``(time, height, width, 3)``, without copying."""
        counts = [view.num_values for clip in self.views for view in clip]
        pieces = iter(self.pixels.split(counts))  # type: ignore[no-untyped-call]
        return [[next(pieces).view(*view[:3], 3) for view in clip] for clip in self.views]


@dataclass(frozen=True)
class CropViews:
    """Transform that draws the views of a clip and crops them; pixels stay uint8.

    :func:`~endofm.training.views.view_rendering.render_views` does the rest, on the training device.

    Attributes:
        config: Distributions to draw from.
    """

    config: ViewConfig

    def __call__(self, frames: UInt8Array, generator: np.random.Generator) -> ViewCrops:
        """Draw and crop; ``frames`` is uint8 ``(time, height, width, 3)``."""
        time, height, width = frames.shape[:3]
        return ViewCrops.crop(frames, draw_views(time, height, width, self.config, generator))
