"""Boxes of pixels, and the map between the pixels of a source frame and those of a clip."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from endofm.errors import InputError, quoted

Position = Literal[0, 1, 2]
"""Position of a square crop along the longer side: 0 = left or top, 1 = centre, 2 = right or bottom."""


@dataclass(frozen=True)
class Box:
    """A rectangle of pixels, with integer bounds.

    Attributes:
        top: First row.
        left: First column.
        height: Number of rows.
        width: Number of columns.
    """

    top: int
    left: int
    height: int
    width: int

    def __post_init__(self) -> None:
        values = (self.top, self.left, self.height, self.width)
        if not all(isinstance(v, (int, np.integer)) and not isinstance(v, bool) for v in values):
            raise InputError(f"the bounds of a Box must be integers, got {values}")
        if self.top < 0 or self.left < 0 or self.height < 1 or self.width < 1:
            raise InputError(f"a Box needs top, left >= 0 and height, width >= 1, got {values}")

    @property
    def bottom(self) -> int:
        """Index of the row after the last."""
        return self.top + self.height

    @property
    def right(self) -> int:
        """Index of the column after the last."""
        return self.left + self.width


def resized_shape(height: int, width: int, short_side: int) -> tuple[int, int]:
    """Return height and width after the shorter side was resized to ``short_side``.

    The other side becomes ``floor(long / short * short_side)``, the division in float64 as published.
    """
    if width < height:
        return math.floor(height / width * short_side), short_side
    return short_side, math.floor(width / height * short_side)


def fitted_shape(height: int, width: int, long_side: int) -> tuple[int, int]:
    """Return height and width after the longer side was resized to ``long_side``; the other is rounded, at least 1."""
    scale = long_side / max(height, width)
    return max(round(height * scale), 1), max(round(width * scale), 1)


def crop_corner(height: int, width: int, size: int, position: Position) -> tuple[int, int]:
    """Return top and left of a square crop of side ``size``, placed as published.

    ``position`` acts along the longer side (a square counts as landscape); the other side is centred. The centre is at
    ``ceil((side - size) / 2)``.

    Raises:
        InputError: If the frame is smaller than the crop, or the position is not 0, 1 or 2.
    """
    if position not in (0, 1, 2):
        raise InputError(f"position of a crop is 0, 1 or 2, got {quoted(position)}")
    if min(height, width) < size:
        raise InputError(f"a crop of {size} x {size} does not fit into {height} x {width} pixels (height x width)")
    top, left = math.ceil((height - size) / 2), math.ceil((width - size) / 2)
    if position != 1 and height > width:
        top = 0 if position == 0 else height - size
    elif position != 1:
        left = 0 if position == 0 else width - size
    return top, left


@dataclass(frozen=True)
class Geometry:
    """The exact map between the pixels of a source frame and those of a clip.

    Coordinates are ``(x, y)`` in pixels with (0, 0) at the outer corner of the first pixel, so that pixel ``i`` spans
    ``[i, i + 1]`` and its centre lies at ``i + 0.5``; x runs along the width. Then
    ``source = offset + scale * clip`` with one offset and scale per axis.

    Attributes:
        source_height: Rows of the source frame.
        source_width: Columns of the source frame.
        box: Part of the source frame that is kept (the field of view, or all of it).
        resized: Height and width to which that part is resized.
        crop: Part of the resized frame that becomes the clip. A fitted frame fills that part of the clip; the rest is
            padding.
    """

    source_height: int
    source_width: int
    box: Box
    resized: tuple[int, int]
    crop: Box

    @classmethod
    def plan(
        cls, height: int, width: int, *, short_side: int, crop_size: int, position: Position, box: Box | None = None
    ) -> Geometry:
        """Return the map for a frame of the given size.

        Raises:
            InputError: If the box does not lie within the frame.
        """
        box = cls._inside(box, height, width)
        resized = resized_shape(box.height, box.width, short_side)
        crop = Box(*crop_corner(*resized, crop_size, position), crop_size, crop_size)
        return cls(height, width, box, resized, crop)

    @classmethod
    def squeeze(cls, height: int, width: int, *, size: int, box: Box | None = None) -> Geometry:
        """Return the map for a frame that is resized to a square without keeping its aspect ratio.

        Raises:
            InputError: If the box does not lie within the frame.
        """
        box = cls._inside(box, height, width)
        return cls(height, width, box, (size, size), Box(0, 0, size, size))

    @classmethod
    def fit(cls, height: int, width: int, *, size: int, box: Box | None = None) -> Geometry:
        """Return the map for a frame whose longer side is resized to ``size``; padding follows to the right and below.

        Raises:
            InputError: If the box does not lie within the frame.
        """
        box = cls._inside(box, height, width)
        resized = fitted_shape(box.height, box.width, size)
        return cls(height, width, box, resized, Box(0, 0, *resized))

    @staticmethod
    def _inside(box: Box | None, height: int, width: int) -> Box:
        box = box or Box(0, 0, height, width)
        if box.bottom > height or box.right > width:
            raise InputError(f"{box} does not lie within the frame of {height} x {width} pixels (height x width)")
        return box

    @property
    def scale(self) -> npt.NDArray[np.float64]:
        """Source pixels per clip pixel along x and y, float64 ``(2,)``."""
        return np.array([self.box.width / self.resized[1], self.box.height / self.resized[0]])

    @property
    def offset(self) -> npt.NDArray[np.float64]:
        """Source coordinates ``(x, y)`` of the clip's outer corner, float64 ``(2,)``."""
        # The crop's corner in the resized frame, scaled to source pixels, within the box.
        inside_box = self.scale * np.array([self.crop.left, self.crop.top])
        return np.asarray(np.array([self.box.left, self.box.top]) + inside_box)

    def to_source(self, points: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Map clip coordinates to the source frame; ``(..., 2)`` points, or boxes ``(..., 4)`` as x, y, x, y."""
        return self._map(points, self.scale, self.offset)

    def to_clip(self, points: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Map source coordinates, points or boxes, to the clip; points that the crop removes are mapped outside it."""
        return self._map(points, 1 / self.scale, -self.offset / self.scale)

    @staticmethod
    def _map(
        points: npt.ArrayLike, scale: npt.NDArray[np.float64], offset: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.float64]:
        values = np.asarray(points, np.float64)
        if values.ndim == 0 or values.shape[-1] not in (2, 4):
            raise InputError(f"expected points (..., 2) or boxes (..., 4), got shape {values.shape}")
        pairs = values.reshape(*values.shape[:-1], values.shape[-1] // 2, 2)
        mapped: npt.NDArray[np.float64] = (pairs * scale + offset).reshape(values.shape)
        return mapped

    def mask_to_source(self, mask: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        """Resample a mask of the clip at the size of the source frame, by nearest neighbour.

        Args:
            mask: ``(..., crop, crop)``, any dtype.

        Returns:
            ``(..., source_height, source_width)``, zero where the clip does not reach.

        Raises:
            InputError: If the mask does not have the size of the clip.
        """
        mask = np.asarray(mask)
        if mask.shape[-2:] != (self.crop.height, self.crop.width):
            raise InputError(f"expected a mask (..., {self.crop.height}, {self.crop.width}), got shape {mask.shape}")
        # The clip pixel into which the centre of each source pixel falls: clip = source / scale - offset / scale.
        centres = [np.arange(n) + 0.5 for n in (self.source_width, self.source_height)]
        inverse, shift = 1 / self.scale, self.offset / self.scale
        columns, rows = (np.floor(c * i - s).astype(np.int64) for c, i, s in zip(centres, inverse, shift, strict=True))
        inside_columns = np.flatnonzero((columns >= 0) & (columns < self.crop.width))
        inside_rows = np.flatnonzero((rows >= 0) & (rows < self.crop.height))
        out = np.zeros((*mask.shape[:-2], self.source_height, self.source_width), mask.dtype)
        taken = mask[..., rows[inside_rows][:, None], columns[inside_columns]]
        out[..., inside_rows[:, None], inside_columns] = taken
        return out

    def mask_to_clip(self, mask: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        """Resample a mask of the source frame at the size of the clip, by nearest neighbour.

        Args:
            mask: ``(..., source_height, source_width)``, any dtype.

        Returns:
            ``(..., crop, crop)``.

        Raises:
            InputError: If the mask does not have the size of the source frame.
        """
        mask = np.asarray(mask)
        if mask.shape[-2:] != (self.source_height, self.source_width):
            raise InputError(
                f"expected a mask (..., {self.source_height}, {self.source_width}), got shape {mask.shape}"
            )
        indices = []
        for axis, length, size in ((1, self.crop.height, self.source_height), (0, self.crop.width, self.source_width)):
            # Accumulated step by step as in Pillow: where a centre falls on an edge, the rounding decides.
            steps = np.full(length, self.scale[axis])
            steps[0] = self.offset[axis] + 0.5 * self.scale[axis]
            centres = np.cumsum(steps)
            indices.append(np.floor(centres).astype(np.int64).clip(0, size - 1))
        taken: npt.NDArray[np.generic] = mask[..., indices[0][:, None], indices[1]]
        return taken
