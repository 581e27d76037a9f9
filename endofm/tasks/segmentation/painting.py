"""Painting masks over pictures and videos."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from endofm.errors import InputError
from endofm.tasks.segmentation.frame_mask import FrameMask
from endofm.video.frames import Frame, UInt8Array, VideoSource
from endofm.video.overlay import OverlayReport, paint_video

if TYPE_CHECKING:
    from endofm.tasks.segmentation.stream import MaskStream

# Okabe and Ito's colours for the colour-blind (jfly.uni-koeln.de/color), those first that stand out on red mucosa.
_COLOURS = (
    (0, 158, 115),
    (86, 180, 233),
    (240, 228, 66),
    (0, 114, 178),
    (230, 159, 0),
    (204, 121, 167),
    (213, 94, 0),
)
_OUTLINE_SHARE = 400  # outlines are as thick as this part of the frame's shorter side


def palette(count: int) -> UInt8Array:
    """Return RGB colours of classes, uint8 ``(count, 3)``; class 0, the background, is black."""
    colours = [(0, 0, 0), *(_COLOURS[i % len(_COLOURS)] for i in range(max(count - 1, 0)))]
    return np.array(colours[:count], np.uint8).reshape(-1, 3)


def paint_labels(picture: UInt8Array, labels: UInt8Array, *, opacity: float = 0.4) -> UInt8Array:
    """Return a picture with its mask over it: a tint inside, an outline around.

    Args:
        picture: uint8 ``(height, width, 3)``, RGB; not changed.
        labels: Class of every pixel, uint8 ``(height, width)``; 0 is left as it is.
        opacity: Share of the colour inside, in [0, 1].

    Raises:
        InputError: If the sizes differ or the opacity is not a share.
    """
    if labels.shape != picture.shape[:2]:
        raise InputError(f"a mask of {labels.shape} does not fit a picture of {picture.shape[:2]} (height, width)")
    if not 0 <= opacity <= 1:
        raise InputError(f"opacity must be in [0, 1], got {opacity!r}")
    rows, columns = np.flatnonzero(labels.any(1)), np.flatnonzero(labels.any(0))
    if not len(rows):
        return np.array(picture)
    colours = palette(256)
    thick = max(1, round(min(labels.shape) / _OUTLINE_SHARE))
    # Only the part that is not background costs time.
    part = np.s_[max(rows[0] - thick, 0) : rows[-1] + thick + 1, max(columns[0] - thick, 0) : columns[-1] + thick + 1]
    inside, out = labels[part], np.array(picture)
    area = out[part]
    tinted = area + opacity * (colours[inside].astype(np.float32) - area)
    area[...] = np.where(inside[..., None] > 0, np.rint(tinted).astype(np.uint8), area)
    edge = _outline(inside, thick)
    area[edge > 0] = colours[edge[edge > 0]]
    return out


def _outline(labels: UInt8Array, thick: int) -> UInt8Array:
    """Return the labels of pixels within ``thick`` pixels of another label inside their object, else 0."""
    padded = np.pad(labels, thick)  # what lies beyond the frame counts as another label
    height, width = labels.shape
    edge = np.zeros(labels.shape, np.bool_)
    for step in range(1, thick + 1):
        for down, right in ((step, 0), (-step, 0), (0, step), (0, -step)):
            shifted = padded[thick + down : thick + down + height, thick + right : thick + right + width]
            edge |= shifted != labels
    return np.where(edge, labels, 0).astype(np.uint8)


def paint_masks(
    stream: MaskStream, source: VideoSource, target: str | Path, *, opacity: float = 0.4, progress: bool = True
) -> OverlayReport:
    """Write a video with its masks painted over it; see :func:`~endofm.video.overlay.paint_video`.

    Where the stream passes over frames (``frame_stride``), they show the mask of the frame before.

    Args:
        stream: Gives the masks while the video is painted.
        source: The same video, which is decoded a second time beside the stream.
        target: File to write, ``.mp4``.
        opacity: Share of the colour inside, in [0, 1].
        progress: Show a progress bar on a terminal.

    Raises:
        VideoError: If the video cannot be read or written.
        InputError: If the opacity or the target is not valid.
    """
    if not 0 <= opacity <= 1:
        raise InputError(f"opacity must be in [0, 1], got {opacity!r}")
    with closing(iter(stream)) as masks:
        brush = _Brush(masks, stream.frame_stride, opacity)
        return paint_video(source, target, brush, progress=progress)


class _Brush:
    """Paints each frame with the mask that belongs to it, taking masks as they are needed."""

    def __init__(self, masks: Iterator[FrameMask], frame_stride: int, opacity: float) -> None:
        self._masks, self._stride, self._opacity = masks, frame_stride, opacity
        self._number = 0
        self._mask: FrameMask | None = None

    def __call__(self, frame: Frame) -> UInt8Array:
        if self._number % self._stride == 0:
            self._mask = next(self._masks, self._mask)
        self._number += 1
        return frame.data if self._mask is None else paint_labels(frame.data, self._mask.labels, opacity=self._opacity)
