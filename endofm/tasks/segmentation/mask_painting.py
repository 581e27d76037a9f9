"""Painting masks over pictures and videos."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from endofm.errors import InputError, quoted
from endofm.tasks.segmentation.frame_mask import FrameMask, PackedMask
from endofm.video.box_drawing import draw_boxes
from endofm.video.frames import Frame, UInt8Array

# Okabe and Ito's colours for colour-blind readers (jfly.uni-koeln.de/color), ordered by contrast with red mucosa.
_COLOURS = (
    (0, 158, 115),
    (86, 180, 233),
    (240, 228, 66),
    (0, 114, 178),
    (230, 159, 0),
    (204, 121, 167),
    (213, 94, 0),
)
_OUTLINE_FRACTION = 400
"""Thickness of outlines: the shorter side of the frame divided by this number."""


def palette(count: int) -> UInt8Array:
    """Return RGB colours of classes, uint8 ``(count, 3)``; class 0, the background, is black."""
    colours = [(0, 0, 0), *(_COLOURS[i % len(_COLOURS)] for i in range(max(count - 1, 0)))]
    return np.array(colours[:count], np.uint8).reshape(-1, 3)


def require_opacity(opacity: float) -> None:
    """Raise an error unless an opacity is valid.

    Raises:
        InputError: If it is not in [0, 1].
    """
    if not 0 <= opacity <= 1:
        raise InputError(f"opacity must be in [0, 1], got {quoted(opacity)}")


def paint_labels(picture: UInt8Array, labels: UInt8Array, *, opacity: float = 0.4) -> UInt8Array:
    """Return a picture with its mask painted over it: a tint inside, an outline around.

    Args:
        picture: uint8 ``(height, width, 3)``, RGB; not changed.
        labels: Class of every pixel, uint8 ``(height, width)``; pixels of class 0 are not painted.
        opacity: Fraction of the class colour inside, in [0, 1].

    Raises:
        InputError: If the sizes differ or the opacity is not valid.
    """
    if labels.shape != picture.shape[:2]:
        raise InputError(f"a mask of {labels.shape} does not fit a picture of {picture.shape[:2]} (height, width)")
    require_opacity(opacity)
    rows, columns = np.flatnonzero(labels.any(1)), np.flatnonzero(labels.any(0))
    if not len(rows):
        return np.array(picture)
    colours = palette(256)
    thick = max(1, round(min(labels.shape) / _OUTLINE_FRACTION))
    # Objects are small compared with a frame: only their bounding box, widened by the outline, is computed on.
    part = np.s_[max(rows[0] - thick, 0) : rows[-1] + thick + 1, max(columns[0] - thick, 0) : columns[-1] + thick + 1]
    inside, out = labels[part], np.array(picture)
    area = out[part]  # a view: assigning to it changes `out`
    tinted = area + opacity * (colours[inside].astype(np.float32) - area)
    area[...] = np.where(inside[..., None] > 0, np.rint(tinted).astype(np.uint8), area)
    edge = _outline(inside, thick)
    area[edge > 0] = colours[edge[edge > 0]]
    return out


def _outline(labels: UInt8Array, thick: int) -> UInt8Array:
    """Return the labels of pixels within ``thick`` pixels of another label inside their object, else 0."""
    padded = np.pad(labels, thick)  # beyond the frame is background, so objects at its edge are closed there
    height, width = labels.shape
    edge = np.zeros(labels.shape, np.bool_)
    for step in range(1, thick + 1):
        for down, right in ((step, 0), (-step, 0), (0, step), (0, -step)):
            shifted = padded[thick + down : thick + down + height, thick + right : thick + right + width]
            edge |= shifted != labels
    return np.where(edge, labels, 0).astype(np.uint8)


def mask_painter(
    masks: Sequence[PackedMask], size: tuple[int, int], *, opacity: float
) -> Callable[[Frame], UInt8Array]:
    """Return a function that paints a frame with the mask that is valid at its time.

    Where only every n-th frame was segmented, its mask stays until the next one.

    Args:
        masks: Masks of the segmented frames, in order of time.
        size: Height and width of the frames.
        opacity: Fraction of the class colour inside, in [0, 1].

    Raises:
        InputError: If the opacity is not valid.
    """
    require_opacity(opacity)
    starts = np.array([mask.pts_seconds for mask in masks])
    current: tuple[int, FrameMask] | None = None

    def paint(frame: Frame) -> UInt8Array:
        nonlocal current
        # Times may have been rounded to six decimals in a file; hence the tolerance.
        index = int(np.searchsorted(starts, frame.pts_seconds + 1e-6, side="right")) - 1
        if index < 0:
            return draw_boxes(frame.data, (), (), ())
        # Frames come in order, so unpacking the current mask once is enough.
        if current is None or current[0] != index:
            current = index, masks[index].unpack(*size)
        # For its notice alone, which every painted picture carries.
        return draw_boxes(paint_labels(frame.data, current[1].labels, opacity=opacity), (), (), ())

    return paint
