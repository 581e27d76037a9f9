"""Matching of predicted boxes to objects, frame by frame."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from endofm.evaluation.detection_records import FrameResult
from endofm.tasks.detection.tracks import box_iou

Criterion = Literal["iou", "centre"]

IOU = 0.5
"""Overlap from which a box hits an object."""


class FrameMatches(NamedTuple):
    """Matches of one frame.

    Attributes:
        hits: Index of the object that each predicted box hits, -1 for none, int64 ``(m,)``. Boxes in an ignored region
            that hit no object are left out.
        scores: Scores of these boxes, ``(m,)``.
        objects: Number of objects in the frame.
    """

    hits: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float32]
    objects: int


def match_frame(frame: FrameResult, criterion: Criterion, *, iou: float = IOU) -> FrameMatches:
    """Match the predicted boxes of a frame to its objects, whatever their classes.

    Boxes choose in descending order of score, and each object is hit once: a second box on it is a false alarm.

    Args:
        frame: The frame.
        criterion: ``"iou"``: the boxes overlap by at least ``iou``; ``"centre"``: the centre of the predicted box lies
            within the object's box.
        iou: Smallest overlap.
    """
    hits = np.full(len(frame.boxes), -1, np.int64)
    if len(frame.boxes) and len(frame.true_boxes):
        overlap = box_iou(frame.boxes, frame.true_boxes)
        if criterion == "iou":
            possible: npt.NDArray[np.bool_] = np.asarray(overlap >= iou)
        else:
            possible = _within(frame.boxes, frame.true_boxes)
        unmatched = np.ones(len(frame.true_boxes), bool)
        for box in np.argsort(-frame.scores, kind="stable"):
            # Of several possible objects the one with the greatest overlap; -1 marks those that cannot be hit.
            candidates = np.where(possible[box] & unmatched, overlap[box], -1.0)
            if candidates.max() >= 0:
                hits[box] = int(candidates.argmax())
                unmatched[hits[box]] = False
    if not len(frame.boxes) or not len(frame.ignored):
        return FrameMatches(hits, frame.scores, len(frame.true_boxes))
    # As COCO does: the overlap with a region is the part of the predicted box that lies in it.
    inside = (
        _within(frame.boxes, frame.ignored) if criterion == "centre" else _covered(frame.boxes, frame.ignored) >= iou
    )
    counted = (hits >= 0) | ~inside.any(axis=1)
    return FrameMatches(hits[counted], frame.scores[counted], len(frame.true_boxes))


def _within(boxes: npt.NDArray[np.float32], regions: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Return whether the centre of each box ``(m, 4)`` lies in each region ``(n, 4)``, ``(m, n)``."""
    centres = (boxes[:, None, :2] + boxes[:, None, 2:]) / 2
    return np.asarray(np.all((centres >= regions[None, :, :2]) & (centres <= regions[None, :, 2:]), axis=-1))


def _covered(boxes: npt.NDArray[np.float32], regions: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the fraction of each box ``(m, 4)`` that lies in each region ``(n, 4)``, ``(m, n)``."""
    low = np.maximum(boxes[:, None, :2], regions[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], regions[None, :, 2:])
    area = np.prod(np.clip(boxes[:, 2:] - boxes[:, :2], 0, None), axis=-1)
    covered: npt.NDArray[np.float32] = np.prod(np.clip(high - low, 0, None), axis=-1) / np.maximum(area, 1e-9)[:, None]
    return covered


def localisation_counts(matches: list[FrameMatches], threshold: float) -> tuple[int, int, int]:
    """Return the numbers of hits, false alarms and misses at a threshold.

    Boxes are matched in descending order of score, so a box's match does not depend on boxes with lower scores: one
    matching serves every threshold.
    """
    hits = sum(int(((m.hits >= 0) & (m.scores >= threshold)).sum()) for m in matches)
    counted = sum(int((m.scores >= threshold).sum()) for m in matches)
    return hits, counted - hits, sum(m.objects for m in matches) - hits
