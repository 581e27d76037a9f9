"""Cut-out uint8 pixels with what was drawn for them: what a data worker hands over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from endofm.errors import InputError
from endofm.training.views.colour import Coefficients, colour_coefficients
from endofm.training.views.draws import ViewDraw
from endofm.video.frames import UInt8Array


class CutView(NamedTuple):
    """A view before it is resized, without its pixels.

    Attributes:
        frames: Number of frames.
        height: In pixels.
        width: In pixels.
        flip: Mirror left and right.
        colour: See :func:`~endofm.training.views.colour.colour_coefficients`.
    """

    frames: int
    height: int
    width: int
    flip: bool
    colour: Coefficients

    @property
    def numbers(self) -> int:
        """How many numbers its pixels are."""
        return self.frames * self.height * self.width * 3


@dataclass(frozen=True, eq=False)
class ViewCrops:
    """The views of some clips before they are resized, in one piece of memory.

    A view's pixels are uint8 ``(time, height, width, 3)`` of a size of its own; together they are about a third of the
    finished views in float32, so that this is what should travel between processes and to a device.

    Attributes:
        pixels: uint8, flat: clip by clip, within it view by view.
        views: For each clip its views.
    """

    pixels: Tensor
    views: tuple[tuple[CutView, ...], ...]

    def __len__(self) -> int:
        """Number of clips."""
        return len(self.views)

    @classmethod
    def cut(cls, frames: UInt8Array, draws: Sequence[ViewDraw]) -> ViewCrops:
        """Cut the views of one clip out of its frames.

        Args:
            frames: uint8 ``(time, height, width, 3)``, RGB.
            draws: What was drawn for each view, for frames of this size.

        Raises:
            InputError: If the frames have another form or a view reaches outside of them.
        """
        if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3:
            raise InputError(f"frames must be uint8 (time, height, width, 3), got {frames.dtype} {frames.shape}")
        time, height, width, _ = frames.shape
        views = tuple(
            CutView(
                len(draw.frames),
                draw.box.height,
                draw.box.width,
                draw.appearance.flip,
                colour_coefficients(draw.appearance),
            )
            for draw in draws
        )
        pixels = np.empty(sum(view.numbers for view in views), np.uint8)
        position = 0
        for draw, view in zip(draws, views, strict=True):
            box = draw.box
            if box.bottom > height or box.right > width or not 0 <= min(draw.frames) <= max(draw.frames) < time:
                raise InputError(f"{draw} reaches outside of a clip of {time} frames of {height} x {width} pixels")
            part = frames[:, box.top : box.bottom, box.left : box.right]
            out = pixels[position : position + view.numbers].reshape(*view[:3], 3)
            np.take(part, draw.frames, axis=0, out=out, mode="clip")
            position += view.numbers
        return cls(torch.from_numpy(pixels), (views,))

    @classmethod
    def collate(cls, clips: Sequence[ViewCrops]) -> ViewCrops:
        """Join clips to a batch.

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
        counts = [view.numbers for clip in self.views for view in clip]
        pieces = iter(self.pixels.split(counts))  # type: ignore[no-untyped-call]
        return [[next(pieces).view(*view[:3], 3) for view in clip] for clip in self.views]
