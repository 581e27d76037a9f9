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

import numpy as np
import numpy.typing as npt

from endofm.errors import InputError
from endofm.transforms.geometry import Box
from endofm.transforms.regions import Mask, closing, heaviest_region, opening

NUM_FRAMES = 24
"""Frames, spread over the whole video, that are enough for a stable answer."""

GRID = 240
"""Cells along the longer side of the frame, at most."""

BLACKEST_BORDER = 32
"""A border is taken to be no brighter than this (0-255): limited-range black shown as 16, plus noise."""

MIN_SHARE = 0.08
"""A region smaller than this share of the frame is not taken for the endoscope's image."""

UInt8Array = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.float32]


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
    bright_enough = _without_fades(cells)
    cells, frames = cells[bright_enough], frames[bright_enough]

    level = np.median(cells, axis=0)
    change = np.quantile(cells, 0.9, axis=0) - np.quantile(cells, 0.1, axis=0)
    threshold = _lit_threshold(level)
    if threshold is None:
        return None
    view = _view_region(level > threshold, change)
    if view.mean() < MIN_SHARE:
        return None
    top, bottom, left, right = _refine(frames, view, block, threshold)
    ends_at_border = _ends_at_border(view, level <= threshold, change)
    top, left = (edge if border else 0 for edge, border in zip((top, left), ends_at_border[::2], strict=True))
    bottom = bottom if ends_at_border[1] else height
    right = right if ends_at_border[3] else width
    box = Box(top, left, bottom - top, right - left)
    return None if box.height >= 0.99 * height and box.width >= 0.99 * width else box


def _brightest_channel(frames: UInt8Array) -> UInt8Array:
    return np.maximum(np.maximum(frames[..., 0], frames[..., 1]), frames[..., 2])


def _cells(frames: UInt8Array, block: int) -> FloatArray:
    """Return the mean brightness of every cell of every frame, float32 ``(time, rows, columns)``, 0-255."""
    rows, columns = frames.shape[1] // block, frames.shape[2] // block
    means = [
        _brightest_channel(frame[: rows * block, : columns * block])
        .reshape(rows, block, columns, block)
        .mean((1, 3), dtype=np.float32)
        for frame in frames
    ]
    return np.stack(means)


def _without_fades(cells: FloatArray) -> Mask:
    """Mark the frames that are not much darker than most: fades and black frames say nothing of the view."""
    brightness = cells.mean((1, 2))
    return np.asarray(brightness >= 0.35 * np.quantile(brightness, 0.8))


def _lit_threshold(level: npt.NDArray[np.floating]) -> float | None:
    """Return the brightness from which a cell is lit, or None if nothing stands out of the black."""
    floor = min(float(np.quantile(level, 0.01)), BLACKEST_BORDER)
    lit = level[level > floor + 10]
    if lit.size < MIN_SHARE * level.size:
        return None
    return floor + max(8.0, 0.12 * (float(np.median(lit)) - floor))


def _view_region(lit: Mask, change: npt.NDArray[np.floating]) -> Mask:
    """Return the cells of the view: the region that changes most, without still panels that touch it."""
    narrow = 2 * round(0.0175 * max(lit.shape)) + 1
    wide = opening(lit, narrow)
    typical = float(np.median(change[wide])) if wide.any() else 0.0
    alive = change > max(2.5, 0.05 * typical)
    if (alive & wide).sum() < 0.2 * wide.sum():
        # A still picture: nothing to learn from change.
        return heaviest_region(wide, np.ones(lit.shape))
    whole = heaviest_region(wide, alive.astype(np.float64))
    moving = heaviest_region(opening(closing(alive & whole, narrow), narrow) & whole, np.ones(lit.shape))
    top, bottom, left, right = _extent(whole)
    inner = _extent(moving)
    kept = whole.copy()
    for outside in (np.s_[top : inner[0]], np.s_[inner[1] : bottom]):
        if _is_still(alive[outside], whole[outside]):
            kept[outside] = False
    for outside in (np.s_[left : inner[2]], np.s_[inner[3] : right]):
        if _is_still(alive[:, outside], whole[:, outside]):
            kept[:, outside] = False
    return kept


def _is_still(alive: Mask, region: Mask) -> bool:
    return bool(region.any()) and float(alive[region].mean()) < 0.1


def _extent(mask: Mask) -> tuple[int, int, int, int]:
    """Return top, bottom, left, right (bottom and right exclusive) of the true cells."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1


def _ends_at_border(view: Mask, dark: Mask, change: npt.NDArray[np.floating]) -> tuple[bool, bool, bool, bool]:
    """Tell for top, bottom, left and right whether what lies beyond the view is a border.

    A border is black and still, or a panel. Dark tissue at the rim of the frame is neither: it changes.
    """
    top, bottom, left, right = _extent(view)
    restless = max(6.0, 0.15 * float(np.median(change[view])))

    def is_border(rows: slice, columns: slice) -> bool:
        black = dark[rows, columns]
        return not black.any() or float(np.median(change[rows, columns][black])) < restless

    return (
        is_border(slice(top), slice(left, right)),
        is_border(slice(bottom, None), slice(left, right)),
        is_border(slice(top, bottom), slice(left)),
        is_border(slice(top, bottom), slice(right, None)),
    )


def _refine(frames: UInt8Array, view: Mask, block: int, threshold: float) -> tuple[int, int, int, int]:
    """Return top, bottom, left, right of the view in pixels."""
    height, width = frames.shape[1:3]
    rows, columns = view.shape[0] * block, view.shape[1] * block
    grid = frames[:, :rows, :columns]
    upright, flat = grid.transpose(0, 2, 1, 3), view.T
    top = _first_column(upright, flat, block, threshold)
    bottom = rows - _first_column(upright[:, :, ::-1], flat[:, ::-1], block, threshold)
    left = _first_column(grid, view, block, threshold)
    right = columns - _first_column(grid[:, :, ::-1], view[:, ::-1], block, threshold)
    # A last row or column of cells that is not whole is not part of the grid.
    return top, height if bottom == rows else bottom, left, width if right == columns else right


def _first_column(frames: UInt8Array, view: Mask, block: int, threshold: float) -> int:
    """Return the first pixel column of the view, looking only at rows where the view comes close to this side."""
    first = int(np.flatnonzero(view.any(0))[0])
    rows = np.repeat(view[:, first : first + 2].any(1), block)
    begin, stop = max(first - 3, 0) * block, (first + 4) * block
    band = np.median(_brightest_channel(frames[:, rows, begin:stop]), axis=0)
    if first > 0:
        # Light that scatters into the border ends softly, the image sharply: ask for a good part of the step.
        outside, inside = float(np.median(band[:, :block])), float(np.median(band[:, -block:]))
        threshold = max(threshold, outside + 0.25 * (inside - outside))
    lit = (band > threshold).mean(0) >= 0.2
    # From the inside outwards as far as it is lit without a gap: letters beyond a gap stay outside.
    gaps = np.flatnonzero(~lit)
    return begin + (int(gaps[-1]) + 1 if len(gaps) else 0)
