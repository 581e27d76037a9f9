"""From the scores of both stages to the boxes of a frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from endofm.tasks.detection.cells import Level, move_boxes
from endofm.tasks.detection.operators import nms
from endofm.tasks.detection.refinement import Refined


class FrameBoxes(NamedTuple):
    """Boxes of one frame, by descending score.

    Attributes:
        boxes: x1, y1, x2, y2 in pixels, ``(n, 4)``.
        scores: ``(n,)``, in [0, 1].
        labels: Classes from 1, int64 ``(n,)``.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor


def decode(
    levels: Sequence[Level],
    refined: Sequence[Refined],
    frame: int,
    *,
    limits: tuple[float, float],
    score_threshold: float = 0.05,
    candidates: int = 1000,
    nms_iou: float = 0.6,
    across_classes: bool = False,
    max_boxes: int = 300,
) -> FrameBoxes:
    """Return the boxes of one target frame.

    With ``p`` the probability of a class, ``c`` the centerness and ``q`` the refined probability, a cell and class
    count if ``sqrt(p c)`` exceeds the threshold; the best ``candidates`` of each level by ``sqrt(p c) q`` are kept, and
    their score is the root of that product. Boxes are the first stage's, moved by the second. Non-maximum suppression
    acts within a class, or across classes.

    Args:
        levels: First stage of the target frames.
        refined: Second stage of the same.
        frame: Which of them.
        limits: Largest x and y of a box; the smallest are 0.
        score_threshold: Of the first stage; the refined score has no part in it.
        candidates: Boxes per level that enter the suppression.
        nms_iou: Overlap above which the weaker of two boxes is dropped.
        across_classes: Let boxes of different classes suppress one another; the original does not.
        max_boxes: Boxes of a frame; those that tie with the last one stay.
    """
    found = [
        _candidates(level, second, frame, score_threshold, candidates)
        for level, second in zip(levels, refined, strict=True)
    ]
    boxes, scores, labels = (torch.cat(parts) for parts in zip(*found, strict=True))
    kept = suppress(boxes, scores, torch.zeros_like(labels) if across_classes else labels, nms_iou)
    boxes, scores, labels = boxes[kept], scores[kept], labels[kept]
    if len(scores) > max_boxes:
        enough = scores >= scores[max_boxes - 1]
        boxes, scores, labels = boxes[enough], scores[enough], labels[enough]
    far = boxes.new_tensor([*limits, *limits])
    boxes = torch.minimum(boxes.clamp(min=0), far)
    # Sides are never negative once clipped unless the corners were in the wrong order before.
    ordered = (boxes[:, 2:] - boxes[:, :2] + 1 >= 0).all(dim=1)
    return FrameBoxes(boxes[ordered], scores[ordered], labels[ordered])


def suppress(boxes: Tensor, scores: Tensor, labels: Tensor, iou: float) -> Tensor:
    """Return the indices that survive non-maximum suppression within each class, by descending score."""
    kept = []
    # Class by class on the given coordinates: moving classes apart, the usual trick, rounds them.
    for label in torch.unique(labels):
        own = (labels == label).nonzero()[:, 0]
        kept.append(own[nms(boxes[own], scores[own], iou)])
    if not kept:
        return labels.new_zeros(0)
    joined = torch.cat(kept)
    return joined[scores[joined].argsort(descending=True, stable=True)]


def _candidates(
    level: Level, refined: Refined, frame: int, threshold: float, candidates: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return boxes, scores and labels of one level before suppression."""
    probability = level.logits[frame].float().sigmoid()  # classes h w
    first = (probability * level.centerness[frame].float().sigmoid()).sqrt().flatten(1).T  # cells classes
    joint = first * refined.logits[frame].float().sigmoid().flatten(1).T
    cells, classes = (first > threshold).nonzero(as_tuple=True)
    scores = joint[cells, classes]
    if len(scores) > candidates:
        best = scores.topk(candidates, sorted=False).indices
        cells, classes, scores = cells[best], classes[best], scores[best]
    deltas = refined.deltas[frame].float().flatten(1).T
    return move_boxes(level.boxes[frame][cells], deltas[cells]), scores.sqrt(), classes + 1
