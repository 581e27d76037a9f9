"""Cut-out uint8 pixels with what was drawn for them: what a data worker hands over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from endofm.errors import InputError
from endofm.training.views.colour import colour_coefficients
from endofm.training.views.draws import ViewDraw
from endofm.video.frames import UInt8Array


@dataclass(frozen=True, eq=False)
class ViewCrops:
    """The views of some clips before they are resized, in one piece of memory.

    A view's pixels are uint8 ``(time, height, width, 3)`` of a size of its own; together they are about a third of the
    finished views in float32, so that this is what should travel between processes and to a device.

    Attributes:
        pixels: uint8, flat: clip by clip, within it view by view.
        shapes: int64 ``(clips, views, 3)``: time, height and width of each.
        flips: bool ``(clips, views)``.
        colours: float64 ``(clips, views, 3)``, see :func:`~endofm.training.views.colour.colour_coefficients`.
    """

    pixels: Tensor
    shapes: Tensor
    flips: Tensor
    colours: Tensor

    def __len__(self) -> int:
        """Number of clips."""
        return len(self.shapes)

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
        shapes = [(len(d.frames), d.box.height, d.box.width) for d in draws]
        pixels = np.empty(sum(t * h * w for t, h, w in shapes) * 3, np.uint8)
        position = 0
        for draw, shape in zip(draws, shapes, strict=True):
            box = draw.box
            if box.bottom > height or box.right > width or not 0 <= min(draw.frames) <= max(draw.frames) < time:
                raise InputError(f"{draw} reaches outside of a clip of {time} frames of {height} x {width} pixels")
            part = frames[:, box.top : box.bottom, box.left : box.right]
            stop = position + shape[0] * shape[1] * shape[2] * 3
            np.take(part, draw.frames, axis=0, out=pixels[position:stop].reshape(*shape, 3), mode="clip")
            position = stop
        return cls(
            torch.from_numpy(pixels),
            torch.tensor(shapes).unsqueeze(0),
            torch.tensor([[d.appearance.flip for d in draws]]),
            torch.tensor([[colour_coefficients(d.appearance) for d in draws]], dtype=torch.float64),
        )

    @classmethod
    def collate(cls, clips: Sequence[ViewCrops]) -> ViewCrops:
        """Join clips to a batch.

        Raises:
            InputError: If there are none.
        """
        if not clips:
            raise InputError("there are no clips to join")
        names = ("pixels", "shapes", "flips", "colours")
        return cls(*(torch.cat([getattr(clip, name) for clip in clips]) for name in names))

    def pin_memory(self) -> ViewCrops:
        """Return the crops with their pixels in pinned memory; called by ``DataLoader``."""
        return replace(self, pixels=self.pixels.pin_memory())

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> ViewCrops:
        """Return the crops with their pixels on a device; the rest is small and stays where it is."""
        return replace(self, pixels=self.pixels.to(device, non_blocking=non_blocking))

    def split(self) -> list[list[Tensor]]:
        """Return for each clip the pixels of its views, uint8 ``(time, height, width, 3)``, without copying."""
        sizes = (self.shapes.prod(dim=-1) * 3).flatten().tolist()
        pieces = iter(self.pixels.split(sizes))  # type: ignore[no-untyped-call]
        return [[next(pieces).view(*shape, 3) for shape in clip] for clip in self.shapes.tolist()]
