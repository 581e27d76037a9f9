"""Packing of token grids of several shapes into one matrix of rows, so that per-token layers need a single call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

Shape = tuple[int, int, int]
"""Time, batch and tokens of a grid ``(time, batch, tokens, width)``; token 0 is the class token."""


@dataclass(frozen=True)
class Packing:
    """Positions of several grids in a matrix of rows, one grid after the other.

    Attributes:
        shapes: Shape of each grid.
        class_rows: Row indices of the class tokens, int64, in ascending order.
    """

    shapes: tuple[Shape, ...]
    class_rows: Tensor = field(compare=False)

    @classmethod
    def of(cls, grids: Sequence[Tensor]) -> tuple[Packing, Tensor]:
        """Pack grids ``(time, batch, tokens, width)``; return their packing and the rows ``(rows, width)``."""
        shapes = tuple((grid.shape[0], grid.shape[1], grid.shape[2]) for grid in grids)
        # A flattened grid repeats frame by frame: class token, patches, class token, patches, ...
        firsts, start = [], 0
        for time, batch, tokens in shapes:
            stop = start + time * batch * tokens
            firsts.append(torch.arange(start, stop, tokens))
            start = stop
        packing = cls(shapes, torch.cat(firsts).to(grids[0].device, non_blocking=True))
        return packing, packing.join(grids)

    def split(self, rows: Tensor) -> list[Tensor]:
        """Return the grids ``(time, batch, tokens, ...)`` as views of the rows ``(rows, ...)``."""
        counts = [time * batch * tokens for time, batch, tokens in self.shapes]
        parts: tuple[Tensor, ...] = rows.split(counts)  # type: ignore[no-untyped-call]
        return [part.view(*shape, *part.shape[1:]) for part, shape in zip(parts, self.shapes, strict=True)]

    def split_class_rows(self, rows: Tensor) -> list[Tensor]:
        """Return the class tokens ``(time, batch, width)`` of each grid from the rows of all class tokens."""
        counts = [time * batch for time, batch, _ in self.shapes]
        parts: tuple[Tensor, ...] = rows.split(counts)  # type: ignore[no-untyped-call]
        return [part.view(*shape[:2], *part.shape[1:]) for part, shape in zip(parts, self.shapes, strict=True)]

    def join(self, grids: Sequence[Tensor]) -> Tensor:
        """Return the rows of grids, or of tensors of the shapes that :meth:`split` returns."""
        return torch.cat([grid.flatten(0, 2) for grid in grids])
