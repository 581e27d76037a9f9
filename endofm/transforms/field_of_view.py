"""Detection of the field of view: the endoscope's image inside black borders and side panels.

The image of an endoscope is round, oval, octagonal or rectangular and often fills only a part of the frame; the rest is
a black border, sometimes with a panel that names the patient. From a few frames of a video this module finds one box
for the complete video:

1. Frames are reduced to a grid of small cells. Over time, each cell has a brightness (its median, without frames of a
   fade) and a range (how much it changes).
2. Bright cells are *lit*. An opening removes narrow structures: letters, lines, noise. Of the remaining connected
   regions, the view is the one in which most cells change (a panel is still, a small second picture is smaller).
3. Where a panel with a bright background touches the view, the part of the region that never changes is removed.
4. A side is cut only if a border lies beyond it: dark and still, or a panel. Dark tissue at the rim is no border.
5. Each side is then located again at full resolution.
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
"""Number of frames, spread over the video, that give a stable result."""

GRID = 240
"""Cells along the longer side of the frame, at most."""

BLACKEST_BORDER = 32
"""Largest brightness of a border (0-255): limited-range black decoded as 16, plus noise."""

MIN_FRACTION = 0.08
"""Smallest fraction of the frame that counts as the endoscope's image."""

UInt8Array = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.float32]
Side = Literal["top", "bottom", "left", "right"]

SIDES: tuple[Side, ...] = ("top", "bottom", "left", "right")


def find_field_of_view(frames: UInt8Array) -> Box | None:
    """Find the part of the frame that the endoscope's image fills.

    The box is the smallest that contains the complete image. Anything drawn over the image itself, or into the corners
    that a round image leaves in its box, stays in the box.

    Args:
        frames: uint8 ``(time, height, width, 3)``, RGB, preferably :data:`NUM_FRAMES` frames spread over the
            video. With a single frame, a panel with a bright background cannot be distinguished from the image.

    Returns:
        One box for the complete video. None if there is no border, or if no image can be recognised (a black or very
        dark video).

    Raises:
        InputError: If the frames are not uint8 or have another shape.
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
    if view.mean() < MIN_FRACTION:
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
    # Pixels that do not fill a last row or column of cells are not part of the grid.
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

    The brightness of a pixel is that of its brightest channel, because tissue is red; cells hold the mean of their
    pixels.
    """
    rows, columns = frames.shape[1] // block, frames.shape[2] // block
    full_cells = np.moveaxis(frames[:, : rows * block, : columns * block], -1, 0)
    means = [
        np.maximum(np.maximum(red, green), blue).reshape(rows, block, columns, block).mean((1, 3), dtype=np.float32)
        for red, green, blue in zip(*full_cells, strict=True)
    ]
    return np.stack(means)


def _median(values: npt.NDArray[Any]) -> npt.NDArray[np.floating]:
    return np.asarray(np.median(values, axis=0))


def _change(values: npt.NDArray[Any]) -> npt.NDArray[np.floating]:
    """Return the range of values over time (axis 0), from the first to the last decile."""
    low, high = np.quantile(values, (0.1, 0.9), axis=0)
    return np.asarray(high - low)


def _without_fades(cells: FloatArray) -> Mask:
    """Mark the frames that are not much darker than most: fades and black frames do not show the view."""
    # Weighted by change, so that a bright panel does not hide a view that went dark.
    weight = cells.max(0) - cells.min(0) + 1e-3
    brightness = (cells * weight).sum((1, 2)) / weight.sum()
    return np.asarray(brightness >= 0.35 * np.quantile(brightness, 0.8))


def _lit_threshold(level: npt.NDArray[np.floating]) -> float | None:
    """Return the brightness from which a cell is lit; None if no cell stands out from the black."""
    floor = min(float(np.quantile(level, 0.01)), BLACKEST_BORDER)
    lit = level[level > floor + 10]
    if lit.size < MIN_FRACTION * level.size:
        return None
    return floor + max(8.0, 0.12 * (float(np.median(lit)) - floor))


def _stillness_threshold(change: npt.NDArray[np.floating], lit: Mask) -> float:
    """Return the change up to which a cell counts as still: the noise that a codec adds to a still panel."""
    return max(2.5, 0.05 * float(np.median(change[lit])))


def _view_region(lit: Mask, alive: Mask) -> tuple[Mask, frozenset[Side]]:
    """Return the cells of the view, and the sides on which a still panel that touches it was cut off."""
    narrow = 2 * round(0.0175 * max(lit.shape)) + 1
    wide = opening(lit, narrow)
    everywhere = np.ones(lit.shape)
    if (alive & wide).mean() < MIN_FRACTION:
        # A still picture: change distinguishes nothing.
        return heaviest_region(wide, everywhere), frozenset()
    region = heaviest_region(wide, alive.astype(np.float64))
    moving = heaviest_region(opening(closing(alive & region, narrow), narrow) & region, everywhere)
    kept, panels = region.copy(), set[Side]()
    for side in SIDES if moving.any() else ():
        begin = int(np.flatnonzero(_turn(moving, side).any(0))[0])
        beyond, beyond_alive = (_turn(a, side)[:, :begin] for a in (region, alive))
        if beyond.any() and beyond_alive[beyond].mean() < 0.1:
            _turn(kept, side)[:, :begin] = False
            panels.add(side)
    # If much of the rest is still too, the scene itself is still, and stillness does not indicate a panel.
    return (kept, frozenset(panels)) if kept.any() and alive[kept].mean() > 0.6 else (region, frozenset())


def _ends_at_border(view: Mask, dark: Mask, change: npt.NDArray[np.floating]) -> bool:
    """Return whether the area to the left of the view is a border: black and still, or a panel.

    Dark tissue at the rim of the frame is neither, because it changes.
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
    """Return the first pixel column of the view, from the rows in which the view comes close to this side.

    Args:
        pixels: uint8 ``(3, time, height, width)``.
        view: Cells of the view.
        block: Pixels per cell.
        statistic: Statistic of a pixel's brightness over time that separates the view from its surroundings.
        threshold: Smallest value of the statistic inside the view.
    """
    first = int(np.flatnonzero(view.any(0))[0])
    rows = np.repeat(view[:, first : first + 2].any(1), block)
    begin, stop = max(first - 3, 0) * block, (first + 4) * block
    band = statistic(pixels[..., rows, begin:stop].max(0))
    if first > 0:
        # Light that scatters into the border fades softly, the image ends sharply: require a good part of the step. The
        # darkest column represents the border, because a panel may be close.
        outside = float(np.median(band[:, : first * block - begin], axis=0).min())
        inside = float(np.median(band[:, -block:]))
        threshold = max(threshold, outside + 0.25 * (inside - outside))
    # From the inside outwards up to the first gap: letters beyond a gap stay outside.
    gaps = np.flatnonzero((band > threshold).mean(0) < 0.2)
    return begin + (int(gaps[-1]) + 1 if len(gaps) else 0)
