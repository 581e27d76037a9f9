"""Which cell has to find which object, for one frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from endofm.tasks.detection.cells import Level, box_deltas, cell_centres, pixel_iou

CENTRE_RADIUS = 1.5
"""Strides around an object's centre within which cells may be its own (FCOS, "centre sampling")."""

SIZE_LIMITS = (64.0, 128.0, 256.0, 512.0)
"""Longest distance from a cell to a side of its box, in pixels, up to which each level but the last is in charge."""

_BEYOND = 1e8
"""Limit of the coarsest level, in pixels."""

REFINED_IOU = 0.1
"""Overlap from which a first-stage box is the second stage's to move."""


class FirstStageTargets(NamedTuple):
    """What the first stage should say about a frame, levels one after the other.

    Attributes:
        labels: Class per cell, int64 ``(cells,)``; 0 is background, class ``i`` of the head is ``i + 1``.
        distances: Left, top, right, bottom in pixels, ``(cells, 4)``; meaningful where the label is not 0.
        centerness: 1 at the centre of a box, 0 at its rim, ``(cells,)``; likewise.
    """

    labels: Tensor
    distances: Tensor
    centerness: Tensor


class SecondStageTargets(NamedTuple):
    """What the second stage should say about a frame.

    Attributes:
        labels: As for the first stage.
        deltas: Moves of the first-stage boxes, ``(cells, 4)``; zero where the label is 0.
    """

    labels: Tensor
    deltas: Tensor


def first_stage_targets(
    boxes: Tensor,
    labels: Tensor,
    sizes: Sequence[tuple[int, int]],
    strides: Sequence[int],
    *,
    size_limits: Sequence[float] = SIZE_LIMITS,
) -> FirstStageTargets:
    """Assign objects to cells by place and size (FCOS, arXiv 1904.01355, with centre sampling).

    A cell belongs to an object if it lies strictly inside both the object's box and 1.5 strides around its centre, and
    if its longest distance to a side is within the level's range, both ends included. Of several objects the smallest
    wins, of equal ones the first. A frame without objects is background everywhere.

    Args:
        boxes: x1, y1, x2, y2 in pixels, ``(objects, 4)``.
        labels: Class of each object, from 1, ``(objects,)``.
        sizes: Rows and columns of each level.
        strides: Stride of each level in pixels.
        size_limits: Upper ends of the ranges of all levels but the last, in pixels.
    """
    centres, per_cell = _all_cells(sizes, strides, size_limits, boxes.device)
    cells = len(centres)
    if len(boxes) == 0:
        nothing = boxes.new_zeros(cells)
        return FirstStageTargets(nothing.long(), boxes.new_zeros(cells, 4), nothing)
    stride, shortest, longest = per_cell.unbind(1)
    distances = torch.cat((centres[:, None] - boxes[:, :2], boxes[:, 2:] - centres[:, None]), dim=-1)  # cells objects 4
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    reach = CENTRE_RADIUS * stride[:, None, None]
    near = torch.cat((centres[:, None] - (middle - reach), middle + reach - centres[:, None]), dim=-1)
    inside = torch.minimum(distances, near).amin(dim=-1) > 0
    size = distances.amax(dim=-1)
    mine = inside & (size >= shortest[:, None]) & (size <= longest[:, None])
    areas = (boxes[:, 2] - boxes[:, 0] + 1) * (boxes[:, 3] - boxes[:, 1] + 1)
    # argmin takes the first of equal values.
    chosen = torch.where(mine, areas, torch.inf).argmin(dim=1)
    found = labels[chosen].long().masked_fill(~mine.any(dim=1), 0)
    wanted = distances[torch.arange(cells, device=boxes.device), chosen]
    return FirstStageTargets(found, wanted, _centerness(wanted))


def second_stage_targets(predicted: Tensor, boxes: Tensor, labels: Tensor) -> SecondStageTargets:
    """Assign objects to first-stage boxes by overlap.

    A predicted box is responsible for the object that it overlaps most, from an overlap of 0.1 (widths and heights one
    pixel larger than the difference of the coordinates). A box without an area cannot be moved by shares of its sides;
    it stays background, where the original divides by zero.

    Args:
        predicted: First-stage boxes of all levels, ``(cells, 4)``, pixels.
        boxes: Objects, ``(objects, 4)``.
        labels: Their classes, from 1, ``(objects,)``.
    """
    if len(boxes) == 0:
        return SecondStageTargets(labels.new_zeros(len(predicted), dtype=torch.long), torch.zeros_like(predicted))
    overlap = pixel_iou(predicted, boxes)
    chosen = overlap.argmax(dim=1)
    has_area = (predicted[:, 2:] > predicted[:, :2]).all(dim=1)
    mine = (overlap.amax(dim=1) >= REFINED_IOU) & has_area
    deltas = torch.zeros_like(predicted)
    deltas[mine] = box_deltas(predicted[mine], boxes[chosen[mine]])
    return SecondStageTargets(labels[chosen].long().masked_fill(~mine, 0), deltas)


def all_boxes(levels: Sequence[Level]) -> Tensor:
    """Join the first-stage boxes of all levels, ``(frames, cells, 4)``."""
    return torch.cat([level.boxes for level in levels], dim=1)


def _all_cells(
    sizes: Sequence[tuple[int, int]], strides: Sequence[int], size_limits: Sequence[float], device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return the centres of all cells, and per cell its stride and the ends of its range of sizes."""
    begins, ends = (-1.0, *size_limits), (*size_limits, _BEYOND)
    centres, per_cell = [], []
    for size, stride, begin, end in zip(sizes, strides, begins, ends, strict=True):
        centres.append(cell_centres(size, stride, device))
        row = torch.tensor([float(stride), begin, end], device=device)
        per_cell.append(row.expand(len(centres[-1]), 3))
    return torch.cat(centres), torch.cat(per_cell)


def _centerness(distances: Tensor) -> Tensor:
    """Return ``sqrt(min / max)`` of opposite distances, multiplied over both axes; 0 outside of a box."""
    left, top, right, bottom = distances.unbind(-1)
    shares = [
        (torch.minimum(a, b) / torch.maximum(a, b)).clamp(min=0).nan_to_num(0.0)
        for a, b in ((left, right), (top, bottom))
    ]
    return (shares[0] * shares[1]).sqrt()
