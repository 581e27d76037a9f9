"""Decoding: from the outputs of both stages to the boxes of a frame."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from endofm.tasks.detection.cells import FrameBoxes, PyramidLevel, move_boxes
from endofm.tasks.detection.operators import nms
from endofm.tasks.detection.refinement import RefinedLevel


def decode(
    levels: Sequence[PyramidLevel],
    refined: Sequence[RefinedLevel],
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

    Let ``p`` be the first stage's probability of a class, ``c`` the centerness and ``q`` the second stage's probability
    of the class, each after its sigmoid. A pair of cell and class is a candidate if ``sqrt(p c)`` exceeds the
    threshold. The best candidates of each level by ``sqrt(p c) q`` are kept; their score is ``sqrt(sqrt(p c) q)``.
    Boxes are those of the first stage, moved by the second. Non-maximum suppression acts within a class, or across
    classes.

    Args:
        levels: First stage of the target frames.
        refined: Second stage of the same frames.
        frame: Index of the target frame.
        limits: Largest x and y of a box; the smallest are 0.
        score_threshold: Threshold on the first stage's score; the second stage has no influence on it.
        candidates: Largest number of boxes per level that enter the suppression.
        nms_iou: Overlap above which the weaker of two boxes is dropped.
        across_classes: Let boxes of different classes suppress one another; the published code does not.
        max_boxes: Largest number of boxes of a frame; boxes that tie with the last one are kept.
    """
    per_level = [
        _candidates(level, second, frame, score_threshold, candidates)
        for level, second in zip(levels, refined, strict=True)
    ]
    boxes, scores, labels = (torch.cat(parts) for parts in zip(*per_level, strict=True))
    kept = suppress(boxes, scores, torch.zeros_like(labels) if across_classes else labels, nms_iou)
    boxes, scores, labels = boxes[kept], scores[kept], labels[kept]
    if len(scores) > max_boxes:
        # Published behaviour: a threshold at the last score, so that ties survive, rather than a slice.
        enough = scores >= scores[max_boxes - 1]
        boxes, scores, labels = boxes[enough], scores[enough], labels[enough]
    # Boxes are clipped after the suppression, which therefore compares them beyond the frame's edge as well.
    far = boxes.new_tensor([*limits, *limits])
    boxes = torch.minimum(boxes.clamp(min=0), far)
    # After clipping, a side is negative only where the corners were in the wrong order before. The published code
    # counts the last pixel as inside (+ 1), so a box of width 0 survives here; the stream drops it.
    ordered = (boxes[:, 2:] - boxes[:, :2] + 1 >= 0).all(dim=1)
    return FrameBoxes(boxes[ordered], scores[ordered], labels[ordered])


def suppress(boxes: Tensor, scores: Tensor, labels: Tensor, iou: float) -> Tensor:
    """Return the indices that survive non-maximum suppression within each class, by descending score.

    Args:
        boxes: ``(n, 4)``.
        scores: ``(n,)``.
        labels: ``(n,)``.
        iou: Overlap above which the weaker of two boxes is dropped.
    """
    kept = []
    # Class by class on the given coordinates: the usual trick, which moves the classes apart by an offset and runs a
    # single suppression, rounds the coordinates in float32 and changes overlaps near the threshold.
    for label in torch.unique(labels):
        members = (labels == label).nonzero()[:, 0]
        kept.append(members[nms(boxes[members], scores[members], iou)])
    if not kept:
        return labels.new_zeros(0)
    joined = torch.cat(kept)
    return joined[scores[joined].argsort(descending=True, stable=True)]


def _candidates(
    level: PyramidLevel, refined: RefinedLevel, frame: int, threshold: float, candidates: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return boxes, scores and labels of one level before suppression."""
    probability = level.logits[frame].float().sigmoid()  # classes h w
    first = (probability * level.centerness[frame].float().sigmoid()).sqrt().flatten(1).T  # cells classes
    joint = first * refined.logits[frame].float().sigmoid().flatten(1).T
    # The first stage alone selects: a cell that it rejects is not computed on, whatever the second stage finds.
    cells, classes = (first > threshold).nonzero(as_tuple=True)
    scores = joint[cells, classes]
    if len(scores) > candidates:
        best = scores.topk(candidates, sorted=False).indices
        cells, classes, scores = cells[best], classes[best], scores[best]
    deltas = refined.deltas[frame].float().flatten(1).T
    # The square root is monotonic, so it is taken of the survivors only.
    return move_boxes(level.boxes[frame][cells], deltas[cells]), scores.sqrt(), classes
