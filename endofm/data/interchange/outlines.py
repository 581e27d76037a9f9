"""Masks and polygons: a polygon holds the pixels whose centres are inside it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

Point = tuple[float, float]
"""x and y in pixels; (0, 0) is the outer corner of the first pixel."""


def fill_polygons(polygons: Iterable[Sequence[Point]], height: int, width: int) -> npt.NDArray[np.bool_]:
    """Return the mask of polygons, bool ``(height, width)``; a polygon inside another one is a hole in it."""
    mask = np.zeros((height, width), np.bool_)
    for polygon in polygons:
        x, y = np.asarray(polygon, np.float64).reshape(-1, 2).T
        next_x, next_y = np.roll(x, -1), np.roll(y, -1)
        if not np.isfinite(x).all() or not np.isfinite(y).all() or not len(x):
            continue
        for row in range(max(math.floor(y.min()), 0), min(math.ceil(y.max()), height)):
            centre = row + 0.5
            crossed = np.flatnonzero((y <= centre) != (next_y <= centre))
            slope = (next_x[crossed] - x[crossed]) / (next_y[crossed] - y[crossed])
            # A pixel is inside from the first centre at or right of a crossing to the last one left of the next.
            columns = np.ceil(np.sort(x[crossed] + (centre - y[crossed]) * slope) - 0.5)
            bounds = np.clip(columns, 0, width).astype(int).tolist()
            for start, end in zip(bounds[::2], bounds[1::2], strict=True):
                mask[row, start:end] ^= True
    return mask


def trace_outlines(mask: npt.NDArray[np.bool_]) -> tuple[list[list[Point]], list[list[Point]]]:
    """Return the outlines of a mask along the edges of its pixels; filled, they give the mask again.

    Args:
        mask: bool ``(height, width)``.

    Returns:
        Outer outlines, clockwise, and outlines of holes.
    """
    following = _edges(mask)
    outer: list[list[Point]] = []
    holes: list[list[Point]] = []
    while following:
        start = next(iter(following))
        ring, at = [start], _leave(following, start, None)
        while at != start:
            ring.append(at)
            at = _leave(following, at, ring[-2])
        corners = _corners(ring)
        (outer if _signed_area(corners) > 0 else holes).append([(float(x), float(y)) for x, y in corners])
    return outer, holes


_Vertex = tuple[int, int]


def _edges(mask: npt.NDArray[np.bool_]) -> dict[_Vertex, list[_Vertex]]:
    """Return the edges between inside and outside from vertex to vertex, with the inside on the right."""
    padded = np.pad(mask, 1)
    inside = padded[1:-1, 1:-1]
    # Offset of the neighbour, then start and end of the shared edge, relative to the pixel's upper left corner.
    sides = (
        ((-1, 0), (0, 0), (1, 0)),
        ((0, 1), (1, 0), (1, 1)),
        ((1, 0), (1, 1), (0, 1)),
        ((0, -1), (0, 1), (0, 0)),
    )
    following: dict[_Vertex, list[_Vertex]] = {}
    for (down, right), start, end in sides:
        beside = padded[1 + down : 1 + down + mask.shape[0], 1 + right : 1 + right + mask.shape[1]]
        for y, x in np.argwhere(inside & ~beside).tolist():
            following.setdefault((x + start[0], y + start[1]), []).append((x + end[0], y + end[1]))
    return following


def _leave(following: dict[_Vertex, list[_Vertex]], at: _Vertex, before: _Vertex | None) -> _Vertex:
    """Take an edge that leaves a vertex; where two pixels touch at a corner, the one that turns right."""
    ends = following[at]
    chosen = 0
    if len(ends) > 1 and before is not None:
        step = at[0] - before[0], at[1] - before[1]
        right = -step[1], step[0]
        chosen = next((i for i, end in enumerate(ends) if (end[0] - at[0], end[1] - at[1]) == right), 0)
    end = ends.pop(chosen)
    if not ends:
        del following[at]
    return end


def _corners(ring: list[_Vertex]) -> list[_Vertex]:
    """Drop the vertices in the middle of straight lines."""
    around = zip([ring[-1], *ring[:-1]], ring, [*ring[1:], ring[0]], strict=True)
    return [at for before, at, after in around if not _straight(before, at, after)]


def _straight(before: _Vertex, at: _Vertex, after: _Vertex) -> bool:
    return (at[0] - before[0]) * (after[1] - at[1]) == (at[1] - before[1]) * (after[0] - at[0])


def _signed_area(ring: Sequence[_Vertex]) -> float:
    x, y = np.asarray(ring, np.float64).T
    return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum() / 2)
