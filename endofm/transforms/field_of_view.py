"""Finding the endoscope's image inside black borders and side panels.

The image of an endoscope is round, oval, octagonal or rectangular and often fills only a part of the frame; the rest is
a black border, sometimes with a panel that names the patient. From some frames of a video this module finds one box
for the whole video:

1. Frames are reduced to a grid of small cells. Over time, each cell has a brightness (its median, frames of a fade
   left out) and a range (how much it changes).
2. Bright cells are *lit*. An opening removes what is narrow: letters, lines, noise. Of the connected regions that
   are left, the view is the one in which most cells change (a panel stands still, a small second picture is smaller).
3. Where a panel with a bright background touches the view, the part of the region that never changes is cut off.
4. A side is cut only if what lies beyond it is a border: dark and still, or a panel. Dark tissue at the rim is not.
5. Each side is then found again at full resolution.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from endofm.errors import InputError
from endofm.transforms.geometry import Box
from endofm.transforms.regions import Mask, closing, heaviest_region, opening

NUM_FRAMES = 16
"""Frames, spread over the whole video, that are enough for a stable answer."""

GRID = 240
"""Cells along the longer side of the frame, at most."""

BLACKEST_BORDER = 32
"""A border is taken to be no brighter than this (0-255): limited-range black shown as 16, plus noise."""

MIN_SHARE = 0.08
"""A region smaller than this share of the frame is not taken for the endoscope's image."""

UInt8Array = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.float32]
Side = Literal["top", "bottom", "left", "right"]

SIDES: tuple[Side, ...] = ("top", "bottom", "left", "right")


def find_field_of_view(frames: UInt8Array) -> Box | None:
    """Find the part of the frame that the endoscope's image fills.

    The box is the smallest that holds the whole image. What is drawn over the image itself, or into the corners that a
    round image leaves in its box, stays in the box.

    Args:
        frames: uint8 ``(time, height, width, 3)``, RGB, best :data:`NUM_FRAMES` frames spread over the whole video. A
            single frame works, but then a panel with a bright background cannot be told from the image.

    Returns:
        One box for the whole video. None if there is nothing to leave out, or if no image can be made out (a black or
        very dark video).

    Raises:
        InputError: If the frames are not uint8 or of another shape.
    """
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3 or 0 in frames.shape:
        raise InputError(f"expected uint8 frames (time, height, width, 3), got {frames.dtype} {frames.shape}")
    height, width = frames.shape[1:3]
    block = -(-max(height, width) // GRID)
    cells = _cells(frames, block)
    lively = _without_fades(cells)
    cells, frames = cells[lively], frames[lively]

    level = np.median(cells, axis=0)
    threshold = _lit_threshold(level)
    if threshold is None:
        return None
    change = _change(cells)
    still = _stillness_threshold(change, level > threshold)
    view, at_panel = _view_region(level > threshold, change > still)
    if view.mean() < MIN_SHARE:
        return None

    rows, columns = view.shape[0] * block, view.shape[1] * block
    pixels = np.moveaxis(frames[:, :rows, :columns], -1, 0)
    margins: dict[Side, int] = {}
    for side in SIDES:
        seen, dark, moves = (_turn(a, side) for a in (view, level <= threshold, change))
        if not _ends_at_border(seen, dark, moves):
            margins[side] = 0
        elif side in at_panel:
            margins[side] = _edge(_turn(pixels, side), seen, block, _change, still)
        else:
            margins[side] = _edge(_turn(pixels, side), seen, block, _median, threshold)
    # A last row or column of cells that is not whole is not part of the grid.
    bottom = rows - margins["bottom"] if margins["bottom"] else height
    right = columns - margins["right"] if margins["right"] else width
    box = Box(margins["top"], margins["left"], bottom - margins["top"], right - margins["left"])
    return None if box.height >= 0.99 * height and box.width >= 0.99 * width else box


def _turn(array: npt.NDArray[Any], side: Side) -> npt.NDArray[Any]:
    """Return a view of ``(..., rows, columns)`` in which the given side is on the left."""
    turned = array.swapaxes(-1, -2) if side in ("top", "bottom") else array
    return turned[..., ::-1] if side in ("bottom", "right") else turned


def _cells(frames: UInt8Array, block: int) -> FloatArray:
    """Return the brightness of every cell of every frame, float32 ``(time, rows, columns)``, 0-255.

    Brightness is that of the brightest channel, because tissue is red, averaged over the cell.
    """
    rows, columns = frames.shape[1] // block, frames.shape[2] // block
    whole = np.moveaxis(frames[:, : rows * block, : columns * block], -1, 0)
    means = [
        np.maximum(np.maximum(red, green), blue).reshape(rows, block, columns, block).mean((1, 3), dtype=np.float32)
        for red, green, blue in zip(*whole, strict=True)
    ]
    return np.stack(means)


def _median(values: npt.NDArray[Any]) -> npt.NDArray[np.floating]:
    return np.asarray(np.median(values, axis=0))


def _change(values: npt.NDArray[Any]) -> npt.NDArray[np.floating]:
    """Return by how much values change over time (axis 0), without the most unusual tenths."""
    low, high = np.quantile(values, (0.1, 0.9), axis=0)
    return np.asarray(high - low)


def _without_fades(cells: FloatArray) -> Mask:
    """Mark the frames that are not much darker than most: fades and black frames say nothing of the view."""
    # Weighted by change, so that a bright panel does not hide that the view went dark.
    weight = cells.max(0) - cells.min(0) + 1e-3
    brightness = (cells * weight).sum((1, 2)) / weight.sum()
    return np.asarray(brightness >= 0.35 * np.quantile(brightness, 0.8))


def _lit_threshold(level: npt.NDArray[np.floating]) -> float | None:
    """Return the brightness from which a cell is lit, or None if nothing stands out of the black."""
    floor = min(float(np.quantile(level, 0.01)), BLACKEST_BORDER)
    lit = level[level > floor + 10]
    if lit.size < MIN_SHARE * level.size:
        return None
    return floor + max(8.0, 0.12 * (float(np.median(lit)) - floor))


def _stillness_threshold(change: npt.NDArray[np.floating], lit: Mask) -> float:
    """Return the change up to which something counts as still: what a codec makes of a still panel."""
    return max(2.5, 0.05 * float(np.median(change[lit])))


def _view_region(lit: Mask, alive: Mask) -> tuple[Mask, frozenset[Side]]:
    """Return the cells of the view, and the sides on which a still panel that touches it was cut off."""
    narrow = 2 * round(0.0175 * max(lit.shape)) + 1
    wide = opening(lit, narrow)
    everywhere = np.ones(lit.shape)
    if (alive & wide).mean() < MIN_SHARE:
        # A still picture: nothing to learn from change.
        return heaviest_region(wide, everywhere), frozenset()
    whole = heaviest_region(wide, alive.astype(np.float64))
    moving = heaviest_region(opening(closing(alive & whole, narrow), narrow) & whole, everywhere)
    kept, panels = whole.copy(), set[Side]()
    for side in SIDES if moving.any() else ():
        begin = int(np.flatnonzero(_turn(moving, side).any(0))[0])
        beyond, beyond_alive = (_turn(a, side)[:, :begin] for a in (whole, alive))
        if beyond.any() and beyond_alive[beyond].mean() < 0.1:
            _turn(kept, side)[:, :begin] = False
            panels.add(side)
    # Where much of what is left stands still as well, the scene does, and stillness does not tell a panel.
    return (kept, frozenset(panels)) if kept.any() and alive[kept].mean() > 0.6 else (whole, frozenset())


def _ends_at_border(view: Mask, dark: Mask, change: npt.NDArray[np.floating]) -> bool:
    """Tell whether what lies to the left of the view is a border: black and still, or a panel.

    Dark tissue at the rim of the frame is neither: it changes.
    """
    first, rows = np.flatnonzero(view.any(0))[0], np.flatnonzero(view.any(1))
    beyond = np.s_[rows[0] : rows[-1] + 1, :first]
    black = dark[beyond]
    restless = max(6.0, 0.15 * float(np.median(change[view])))
    return not black.any() or float(np.median(change[beyond][black])) < restless


def _edge(
    pixels: UInt8Array,
    view: Mask,
    block: int,
    statistic: Callable[[npt.NDArray[Any]], npt.NDArray[np.floating]],
    threshold: float,
) -> int:
    """Return the first pixel column of the view, looking only at rows where the view comes close to this side.

    Args:
        pixels: uint8 ``(3, time, height, width)``.
        view: Cells of the view.
        block: Pixels per cell.
        statistic: What of a pixel's brightness over time tells the view from what is beside it.
        threshold: From which value on it does.
    """
    first = int(np.flatnonzero(view.any(0))[0])
    rows = np.repeat(view[:, first : first + 2].any(1), block)
    begin, stop = max(first - 3, 0) * block, (first + 4) * block
    band = statistic(pixels[..., rows, begin:stop].max(0))
    if first > 0:
        # Light that scatters into the border ends softly, the image sharply: ask for a good part of the step. The least
        # column stands for the border, because a panel may lie close by.
        outside = float(np.median(band[:, : first * block - begin], axis=0).min())
        inside = float(np.median(band[:, -block:]))
        threshold = max(threshold, outside + 0.25 * (inside - outside))
    # From the inside outwards as far as it goes without a gap: letters beyond a gap stay outside.
    gaps = np.flatnonzero((band > threshold).mean(0) < 0.2)
    return begin + (int(gaps[-1]) + 1 if len(gaps) else 0)
