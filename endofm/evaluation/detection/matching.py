"""Which found boxes hit which objects, frame by frame."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from endofm.evaluation.detection.records import FrameResult
from endofm.tasks.detection.tracks import box_iou

Criterion = Literal["iou", "centre"]

IOU = 0.5
"""Overlap from which a box hits an object."""


class FrameMatches(NamedTuple):
    """What became of the boxes of one frame.

    Attributes:
        hits: For each found box the place of the object that it hits, -1 for none, int64 ``(m,)``.
        scores: Its score, ``(m,)``.
        objects: Objects of the frame.
    """

    hits: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float32]
    objects: int


def match_frame(frame: FrameResult, criterion: Criterion, *, iou: float = IOU) -> FrameMatches:
    """Match the found boxes of a frame to its objects, the best scores first, each object once.

    Classes play no role. A second box on one object is a false alarm.

    Args:
        frame: The frame.
        criterion: ``"iou"``: the boxes overlap by at least ``iou``; ``"centre"``: the centre of the found box lies in
            the object's box.
        iou: Smallest overlap.
    """
    hits = np.full(len(frame.boxes), -1, np.int64)
    if len(frame.boxes) and len(frame.true_boxes):
        overlap = box_iou(frame.boxes, frame.true_boxes)
        if criterion == "iou":
            possible: npt.NDArray[np.bool_] = np.asarray(overlap >= iou)
        else:
            centres = (frame.boxes[:, None, :2] + frame.boxes[:, None, 2:]) / 2
            true = frame.true_boxes[None]
            possible = np.asarray(np.all((centres >= true[..., :2]) & (centres <= true[..., 2:]), axis=-1))
        free = np.ones(len(frame.true_boxes), bool)
        for place in np.argsort(-frame.scores, kind="stable"):
            candidates = np.where(possible[place] & free, overlap[place], -1.0)
            if candidates.max() >= 0:
                hits[place] = int(candidates.argmax())
                free[hits[place]] = False
    return FrameMatches(hits, frame.scores, len(frame.true_boxes))


def localisation_counts(matches: list[FrameMatches], threshold: float) -> tuple[int, int, int]:
    """Return hits, false alarms and misses at a threshold.

    Boxes are matched by descending score, so that leaving out the lowest ones does not change what the others hit.
    """
    hit = sum(int(((m.hits >= 0) & (m.scores >= threshold)).sum()) for m in matches)
    said = sum(int((m.scores >= threshold).sum()) for m in matches)
    return hit, said - hit, sum(m.objects for m in matches) - hit
