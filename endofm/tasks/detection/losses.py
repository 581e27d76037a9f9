"""The five losses of the detector."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from endofm.tasks.detection.cells import Level
from endofm.tasks.detection.operators import generalized_box_iou_loss, sigmoid_focal_loss
from endofm.tasks.detection.refinement import Refined
from endofm.tasks.detection.targets import (
    SIZE_LIMITS,
    FirstStageTargets,
    SecondStageTargets,
    all_boxes,
    first_stage_targets,
    second_stage_targets,
)

FOCAL_ALPHA, FOCAL_GAMMA = 0.25, 2.0
"""Focal loss, arXiv 1708.02002."""

SMOOTH_L1_BETA = 0.11

Average = Callable[[Tensor], Tensor]
"""Takes the three normalising sums of this process, ``(3,)``, and returns their mean over processes."""


class DetectionLosses(NamedTuple):
    """Losses of a batch of frames, each a scalar; their sum, all of weight 1, is what is minimised.

    Attributes:
        classification: Focal loss of the first stage, over its foreground cells.
        regression: Generalised IoU loss of the first stage, weighted by centerness.
        centerness: Binary cross-entropy on foreground cells.
        refined_classification: Focal loss of the second stage, over its foreground cells.
        refined_regression: Smooth L1 of the second stage's moves, over its foreground cells.
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
    levels: Sequence[Level],
    refined: Sequence[Refined],
    boxes: Sequence[Tensor],
    labels: Sequence[Tensor],
    *,
    size_limits: Sequence[float] = SIZE_LIMITS,
    average: Average | None = None,
) -> DetectionLosses:
    """Compare both stages with the objects of the target frames.

    Args:
        levels: First stage of the target frames.
        refined: Second stage of the same.
        boxes: Objects of each frame, ``(objects, 4)``, x1, y1, x2, y2 in pixels of the network's input; a frame may
            have none.
        labels: Their classes, from 1.
        size_limits: See :func:`~endofm.tasks.detection.targets.first_stage_targets`.
        average: Averages the normalising sums over processes; None for a single one.
    """
    sizes, strides = [level.size for level in levels], [level.stride for level in levels]
    predicted = all_boxes(levels)
    first, second = [], []
    for i, (own, names) in enumerate(zip(boxes, labels, strict=True)):
        first.append(first_stage_targets(own, names, sizes, strides, size_limits=size_limits))
        second.append(second_stage_targets(predicted[i], own, names))
    return compare(
        levels,
        refined,
        FirstStageTargets(*(torch.cat(parts) for parts in zip(*first, strict=True))),
        SecondStageTargets(*(torch.cat(parts) for parts in zip(*second, strict=True))),
        average=average,
    )


def compare(
    levels: Sequence[Level],
    refined: Sequence[Refined],
    first: FirstStageTargets,
    second: SecondStageTargets,
    *,
    average: Average | None = None,
) -> DetectionLosses:
    """Compare both stages with targets that are already assigned; targets of all frames one after the other."""
    logits = _flat([level.logits for level in levels])
    distances = _flat([level.distances for level in levels])
    centerness = _flat([level.centerness for level in levels])[:, 0]
    refined_logits = _flat([level.logits for level in refined])
    deltas = _flat([level.deltas for level in refined])

    mine, refine = first.labels > 0, second.labels > 0
    weights = first.centerness[mine]
    sums = torch.stack((mine.sum().float(), weights.sum(), refine.sum().float()))
    if average is not None:
        sums = average(sums)
    count, weight, refined_count = sums.clamp(min=1).unbind()

    # Distances from one point, taken as corners, are a box around the origin.
    sign = distances.new_tensor([-1.0, -1.0, 1.0, 1.0])
    overlap = generalized_box_iou_loss(
        distances[mine] * sign, first.distances[mine] * sign, eps=torch.finfo(torch.float32).eps
    )
    return DetectionLosses(
        classification=_focal(logits, first.labels) / count,
        regression=(overlap * weights).sum() / weight,
        centerness=F.binary_cross_entropy_with_logits(centerness[mine], weights, reduction="sum") / count,
        refined_classification=_focal(refined_logits, second.labels) / refined_count,
        refined_regression=F.smooth_l1_loss(deltas[refine], second.deltas[refine], beta=SMOOTH_L1_BETA, reduction="sum")
        / refined_count,
    )


def _focal(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the sum of the sigmoid focal loss over cells and classes."""
    wanted = F.one_hot(labels, logits.shape[1] + 1)[:, 1:].to(logits.dtype)
    loss: Tensor = sigmoid_focal_loss(logits, wanted, alpha=FOCAL_ALPHA, gamma=FOCAL_GAMMA, reduction="sum")
    return loss


def _flat(maps: Sequence[Tensor]) -> Tensor:
    """Join maps ``(frames, channels, h, w)`` of all levels to ``(frames * cells, channels)``, frame by frame."""
    return torch.cat([m.flatten(2).transpose(1, 2) for m in maps], dim=1).flatten(0, 1).float()
