"""Target assignment: the object that each cell of a frame has to predict."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from endofm.tasks.detection.cells import PyramidLevel, box_deltas, cell_centres, pixel_iou

CENTRE_RADIUS = 1.5
"""Radius around an object's centre, in strides, within which cells may predict it (FCOS, "centre sampling")."""

SIZE_LIMITS = (64.0, 128.0, 256.0, 512.0)
"""Upper ends of the size ranges of all levels but the last (longest distance from a cell to a side), in pixels."""

_BEYOND = 1e8
"""Upper end of the coarsest level's range, in pixels."""

REFINED_IOU = 0.1
"""Smallest overlap at which the second stage has to move a first-stage box onto an object."""


class FirstStageTargets(NamedTuple):
    """Expected output of the first stage for a frame, with the levels concatenated.

    Attributes:
        labels: Class per cell, int64 ``(cells,)``; 0 is background, class ``i`` of the head is ``i + 1``.
        distances: Left, top, right, bottom in pixels, ``(cells, 4)``; undefined where the label is 0.
        centerness: 1 at the centre of a box, 0 at its edge, ``(cells,)``; undefined where the label is 0.
    """

    labels: Tensor
    distances: Tensor
    centerness: Tensor


class SecondStageTargets(NamedTuple):
    """Expected output of the second stage for a frame.

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
    """Assign objects to cells by position and size (FCOS, arXiv 1904.01355, with centre sampling).

    A cell is assigned to an object if it is strictly inside both the object's box and a square of 1.5 strides around
    its centre, and if its longest distance to a side is within the level's range, both ends included. Of several
    objects the smallest is assigned, of equal ones the first. A frame without objects is background everywhere.

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
        zeros = boxes.new_zeros(cells)
        return FirstStageTargets(zeros.long(), boxes.new_zeros(cells, 4), zeros)
    stride, shortest, longest = per_cell.unbind(1)
    # A point is inside a box if and only if all four distances to its sides are positive; the same test serves for
    # the square around the centre.
    distances = torch.cat((centres[:, None] - boxes[:, :2], boxes[:, 2:] - centres[:, None]), dim=-1)  # cells objects 4
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    radius = CENTRE_RADIUS * stride[:, None, None]
    near = torch.cat((centres[:, None] - (middle - radius), middle + radius - centres[:, None]), dim=-1)
    inside = torch.minimum(distances, near).amin(dim=-1) > 0
    size = distances.amax(dim=-1)
    assigned = inside & (size >= shortest[:, None]) & (size <= longest[:, None])
    # Areas with the last pixel inside, as published; they only decide which of two objects is the smaller.
    areas = (boxes[:, 2] - boxes[:, 0] + 1) * (boxes[:, 3] - boxes[:, 1] + 1)
    # argmin returns the first of equal values. For a cell without an object all are infinite and it returns object 0,
    # whose label is then masked.
    smallest = torch.where(assigned, areas, torch.inf).argmin(dim=1)
    cell_labels = labels[smallest].long().masked_fill(~assigned.any(dim=1), 0)
    expected = distances[torch.arange(cells, device=boxes.device), smallest]
    return FirstStageTargets(cell_labels, expected, _centerness(expected))


def second_stage_targets(predicted: Tensor, boxes: Tensor, labels: Tensor) -> SecondStageTargets:
    """Assign objects to first-stage boxes by overlap.

    A predicted box is assigned the object that it overlaps most, from an overlap of 0.1 (widths and heights one pixel
    larger than the difference of the coordinates). A box without an area cannot be moved by fractions of its sides; it
    remains background, whereas the published code divides by zero.

    Args:
        predicted: First-stage boxes of all levels, ``(cells, 4)``, pixels.
        boxes: Objects, ``(objects, 4)``.
        labels: Their classes, from 1, ``(objects,)``.
    """
    if len(boxes) == 0:
        return SecondStageTargets(labels.new_zeros(len(predicted), dtype=torch.long), torch.zeros_like(predicted))
    overlap = pixel_iou(predicted, boxes)
    best = overlap.argmax(dim=1)
    has_area = (predicted[:, 2:] > predicted[:, :2]).all(dim=1)
    assigned = (overlap.amax(dim=1) >= REFINED_IOU) & has_area
    deltas = torch.zeros_like(predicted)
    deltas[assigned] = box_deltas(predicted[assigned], boxes[best[assigned]])
    return SecondStageTargets(labels[best].long().masked_fill(~assigned, 0), deltas)


def all_boxes(levels: Sequence[PyramidLevel]) -> Tensor:
    """Concatenate the first-stage boxes of all levels, ``(frames, cells, 4)``."""
    return torch.cat([level.boxes for level in levels], dim=1)


def _all_cells(
    sizes: Sequence[tuple[int, int]], strides: Sequence[int], size_limits: Sequence[float], device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return the centres of all cells, and per cell its stride and the ends of its size range."""
    # From -1, so that a distance of 0 belongs to the finest level.
    begins, ends = (-1.0, *size_limits), (*size_limits, _BEYOND)
    centres, per_cell = [], []
    for size, stride, begin, end in zip(sizes, strides, begins, ends, strict=True):
        centres.append(cell_centres(size, stride, device))
        row = torch.tensor([float(stride), begin, end], device=device)
        per_cell.append(row.expand(len(centres[-1]), 3))
    return torch.cat(centres), torch.cat(per_cell)


def _centerness(distances: Tensor) -> Tensor:
    """Return the centerness of cells, 0 outside of a box.

    ``sqrt(min(l, r) / max(l, r) * min(t, b) / max(t, b))`` (FCOS, equation 3).
    """
    left, top, right, bottom = distances.unbind(-1)
    # Outside of a box one distance is negative, and the ratio too; where both are 0 it is undefined.
    ratios = [
        (torch.minimum(a, b) / torch.maximum(a, b)).clamp(min=0).nan_to_num(0.0)
        for a, b in ((left, right), (top, bottom))
    ]
    return (ratios[0] * ratios[1]).sqrt()
