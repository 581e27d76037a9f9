"""Linking the boxes of successive frames into tracks by their overlap, without a motion model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from endofm.tasks.detection.frame_detections import Float32Array, Int64Array


def box_iou(boxes: npt.ArrayLike, others: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return intersection over union of every pair, float64 ``(n, m)``; boxes x1, y1, x2, y2, ``(n, 4)``."""
    a, b = (np.asarray(v, np.float64).reshape(-1, 4) for v in (boxes, others))
    corner = np.maximum(a[:, None, :2], b[None, :, :2])
    end = np.minimum(a[:, None, 2:], b[None, :, 2:])
    inside = np.clip(end - corner, 0, None).prod(-1)
    areas = [np.clip(v[:, 2:] - v[:, :2], 0, None).prod(-1) for v in (a, b)]
    union = areas[0][:, None] + areas[1][None] - inside
    iou: npt.NDArray[np.float64] = np.divide(inside, union, out=np.zeros_like(inside), where=union > 0)
    return iou


@dataclass
class _Track:
    number: int
    box: Float32Array
    seconds: float


class TrackLinker:
    """Assigns a track number to every box, frame by frame, from earlier frames only.

    A box continues the track whose last box it overlaps most; pairs with the largest overlap are linked first. Classes
    are ignored, since the predicted class of one lesion may change from frame to frame. A box without a partner starts
    a track.

    Args:
        min_iou: Smallest overlap of a link.
        max_gap_seconds: Longest time for which a track may be missing.
    """

    def __init__(self, *, min_iou: float = 0.3, max_gap_seconds: float = 0.5) -> None:
        self._min_iou, self._max_gap = min_iou, max_gap_seconds
        self._tracks: list[_Track] = []
        self._next_number = 0

    def link(self, boxes: Float32Array, seconds: float) -> Int64Array:
        """Return the track of each box of the next frame, int64 ``(n,)``, numbered from 0.

        Args:
            boxes: x1, y1, x2, y2, ``(n, 4)``.
            seconds: Time of the frame; not earlier than that of the previous frame.
        """
        self._tracks = [track for track in self._tracks if seconds - track.seconds <= self._max_gap + 1e-9]
        numbers = np.full(len(boxes), -1, np.int64)
        overlap = box_iou(boxes, [track.box for track in self._tracks])
        # Greedy rather than optimal assignment: a frame holds few boxes, and the pair with the largest overlap is
        # rarely wrong.
        while overlap.size and overlap.max() >= self._min_iou:
            box, index = np.unravel_index(int(overlap.argmax()), overlap.shape)
            track = self._tracks[int(index)]
            numbers[box], track.box, track.seconds = track.number, boxes[box], seconds
            # Neither the box nor the track is available to another partner.
            overlap[box, :] = overlap[:, index] = -1
        for box in np.flatnonzero(numbers < 0):
            numbers[box] = self._next_number
            self._tracks.append(_Track(self._next_number, boxes[box], seconds))
            self._next_number += 1
        return numbers
