"""The five losses of the detector."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from endofm.tasks.detection.cell_targets import (
    SIZE_LIMITS,
    FirstStageTargets,
    SecondStageTargets,
    all_boxes,
    first_stage_targets,
    second_stage_targets,
)
from endofm.tasks.detection.cells import PyramidLevel
from endofm.tasks.detection.operators import generalized_box_iou_loss, sigmoid_focal_loss
from endofm.tasks.detection.refinement import RefinedLevel

FOCAL_ALPHA, FOCAL_GAMMA = 0.25, 2.0
"""Focal loss, arXiv 1708.02002."""

SMOOTH_L1_BETA = 0.11
"""Error at which smooth L1 turns from quadratic to linear; the published value (1 / 9, rounded)."""

Average = Callable[[Tensor], Tensor]
"""Takes the three normalising sums of this process, ``(3,)``, and returns their mean over processes."""


class DetectionLosses(NamedTuple):
    """Losses of a batch of frames, each a scalar; their unweighted sum is minimised.

    Attributes:
        classification: Focal loss of the first stage, per foreground cell.
        regression: Generalised IoU loss of the first stage, weighted by centerness.
        centerness: Binary cross-entropy on foreground cells.
        refined_classification: Focal loss of the second stage, per foreground cell of that stage.
        refined_regression: Smooth L1 of the second stage's moves, per foreground cell of that stage.
    """

    classification: Tensor
    regression: Tensor
    centerness: Tensor
    refined_classification: Tensor
    refined_regression: Tensor

    def total(self) -> Tensor:
        """Return the sum."""
        return torch.stack(tuple(self)).sum()


def detection_losses(
    levels: Sequence[PyramidLevel],
    refined: Sequence[RefinedLevel],
    boxes: Sequence[Tensor],
    labels: Sequence[Tensor],
    *,
    size_limits: Sequence[float] = SIZE_LIMITS,
    average: Average | None = None,
) -> DetectionLosses:
    """Compare both stages with the objects of the target frames.

    Args:
        levels: First stage of the target frames.
        refined: Second stage of the same frames.
        boxes: Objects of each frame, ``(objects, 4)``, x1, y1, x2, y2 in pixels of the network's input; a frame may
            have none.
        labels: Their classes, from 1.
        size_limits: See :func:`~endofm.tasks.detection.cell_targets.first_stage_targets`.
        average: Averages the normalising sums over processes; None for a single process.
    """
    sizes, strides = [level.size for level in levels], [level.stride for level in levels]
    predicted = all_boxes(levels)
    first, second = [], []
    for i, (frame_boxes, frame_labels) in enumerate(zip(boxes, labels, strict=True)):
        first.append(first_stage_targets(frame_boxes, frame_labels, sizes, strides, size_limits=size_limits))
        second.append(second_stage_targets(predicted[i], frame_boxes, frame_labels))
    return compare(
        levels,
        refined,
        FirstStageTargets(*(torch.cat(parts) for parts in zip(*first, strict=True))),
        SecondStageTargets(*(torch.cat(parts) for parts in zip(*second, strict=True))),
        average=average,
    )


def compare(
    levels: Sequence[PyramidLevel],
    refined: Sequence[RefinedLevel],
    first: FirstStageTargets,
    second: SecondStageTargets,
    *,
    average: Average | None = None,
) -> DetectionLosses:
    """Compare both stages with assigned targets, in which the frames are concatenated.

    With ``N`` and ``M`` the numbers of foreground cells of the first and second stage, ``c*`` the true centerness, and
    sums over all frames and levels::

        classification         = sum over cells and classes of focal / N
        regression             = sum over foreground of c* (1 - GIoU) / sum of c*
        centerness             = sum over foreground of BCE(centerness, c*) / N
        refined classification = sum over cells and classes of focal / M
        refined regression     = sum over foreground of smooth L1 / M

    (FCOS, equation 2, with focal loss and GIoU, arXiv 1902.09630; STFT, arXiv 2107.02588, adds the second stage.)
    """
    logits = _flat([level.logits for level in levels])
    distances = _flat([level.distances for level in levels])
    centerness = _flat([level.centerness for level in levels])[:, 0]
    refined_logits = _flat([level.logits for level in refined])
    deltas = _flat([level.deltas for level in refined])

    foreground, refine = first.labels > 0, second.labels > 0
    weights = first.centerness[foreground]
    sums = torch.stack((foreground.sum().float(), weights.sum(), refine.sum().float()))
    # Averaged over processes, so that after the gradients are averaged too, every object of the global batch counts
    # the same, wherever it was.
    if average is not None:
        sums = average(sums)
    # At least 1: a batch without objects still has a classification loss, and 0 / 0 elsewhere.
    count, weight, refined_count = sums.clamp(min=1).unbind()

    # The overlap of two boxes does not change when both are moved together. Distances (l, t, r, b) from the same
    # point, with the signs of (-l, -t, r, b), are the two boxes with that point at the origin.
    sign = distances.new_tensor([-1.0, -1.0, 1.0, 1.0])
    giou_loss = generalized_box_iou_loss(
        distances[foreground] * sign, first.distances[foreground] * sign, eps=torch.finfo(torch.float32).eps
    )
    moves = F.smooth_l1_loss(deltas[refine], second.deltas[refine], beta=SMOOTH_L1_BETA, reduction="sum")
    return DetectionLosses(
        classification=_focal(logits, first.labels) / count,
        regression=(giou_loss * weights).sum() / weight,
        centerness=F.binary_cross_entropy_with_logits(centerness[foreground], weights, reduction="sum") / count,
        refined_classification=_focal(refined_logits, second.labels) / refined_count,
        refined_regression=moves / refined_count,
    )


def _focal(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the sum of the sigmoid focal loss over cells and classes.

    ``-alpha_t (1 - p_t)^gamma log(p_t)`` (arXiv 1708.02002, equation 5).
    """
    # One-hot with a column for the background, which is then dropped: a background cell has a target of 0 in all
    # classes.
    expected = F.one_hot(labels, logits.shape[1] + 1)[:, 1:].to(logits.dtype)
    loss: Tensor = sigmoid_focal_loss(logits, expected, alpha=FOCAL_ALPHA, gamma=FOCAL_GAMMA, reduction="sum")
    return loss


def _flat(maps: Sequence[Tensor]) -> Tensor:
    """Join maps ``(frames, channels, h, w)`` of all levels to ``(frames * cells, channels)``, frame by frame."""
    return torch.cat([m.flatten(2).transpose(1, 2) for m in maps], dim=1).flatten(0, 1).float()
