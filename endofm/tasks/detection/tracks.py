"""Boxes of successive frames linked into tracks by their overlap: a plain link, without a model of motion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]
Int64Array = npt.NDArray[np.int64]


def box_iou(boxes: npt.ArrayLike, others: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return intersection over union of every pair, float64 ``(n, m)``; boxes x1, y1, x2, y2, ``(n, 4)``."""
    a, b = (np.asarray(v, np.float64).reshape(-1, 4) for v in (boxes, others))
    corner = np.maximum(a[:, None, :2], b[None, :, :2])
    end = np.minimum(a[:, None, 2:], b[None, :, 2:])
    inside = np.clip(end - corner, 0, None).prod(-1)
    areas = [np.clip(v[:, 2:] - v[:, :2], 0, None).prod(-1) for v in (a, b)]
    union = areas[0][:, None] + areas[1][None] - inside
    shares: npt.NDArray[np.float64] = np.divide(inside, union, out=np.zeros_like(inside), where=union > 0)
    return shares


@dataclass
class _Track:
    number: int
    box: Float32Array
    seconds: float


class TrackLinker:
    """Gives every box the number of its track, frame by frame, from earlier frames alone.

    A box continues the track whose last box it overlaps most, pairs with the largest overlap first; classes do not
    matter, since the class of one lesion may change from frame to frame. A box without a partner begins a track.

    Args:
        min_iou: Smallest overlap of a link.
        max_gap_seconds: Longest time that a track may go unseen.
    """

    def __init__(self, *, min_iou: float = 0.3, max_gap_seconds: float = 0.5) -> None:
        self._min_iou, self._max_gap = min_iou, max_gap_seconds
        self._tracks: list[_Track] = []
        self._following = 0

    def link(self, boxes: Float32Array, seconds: float) -> Int64Array:
        """Return the track of each box of the next frame, int64 ``(n,)``, numbers from 0.

        Args:
            boxes: x1, y1, x2, y2, ``(n, 4)``.
            seconds: Time of the frame; not earlier than that of the frame before.
        """
        self._tracks = [track for track in self._tracks if seconds - track.seconds <= self._max_gap + 1e-9]
        numbers = np.full(len(boxes), -1, np.int64)
        overlap = box_iou(boxes, [track.box for track in self._tracks])
        while overlap.size and overlap.max() >= self._min_iou:
            box, place = np.unravel_index(int(overlap.argmax()), overlap.shape)
            track = self._tracks[int(place)]
            numbers[box], track.box, track.seconds = track.number, boxes[box], seconds
            overlap[box, :] = overlap[:, place] = -1
        for box in np.flatnonzero(numbers < 0):
            numbers[box] = self._following
            self._tracks.append(_Track(self._following, boxes[box], seconds))
            self._following += 1
        return numbers
