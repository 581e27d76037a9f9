"""Cells of a pyramid level, and the boxes that they predict."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class PyramidLevel(NamedTuple):
    """First-stage output for one pyramid level of some frames.

    Attributes:
        stride: Distance between neighbouring cells, in pixels.
        cls_tower: Last map of the class tower, ``(frames, channels, h, w)``.
        box_tower: Last map of the box tower, of the same shape.
        logits: Class logits, ``(frames, classes, h, w)``.
        centerness: Logit of how central a cell is in its object, ``(frames, 1, h, w)``.
        distances: From the cell's centre to the left, top, right and bottom of its box, in pixels, ``>= 0``,
            ``(frames, 4, h, w)``.
        boxes: The boxes, x1, y1, x2, y2 in pixels, not clipped, without gradient, ``(frames, h * w, 4)``.
    """

    stride: int
    cls_tower: Tensor
    box_tower: Tensor
    logits: Tensor
    centerness: Tensor
    distances: Tensor
    boxes: Tensor

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of cells."""
        return self.logits.shape[-2], self.logits.shape[-1]

    def select(self, frames: int | slice | Tensor) -> PyramidLevel:
        """Return the level of a subset of the frames; an integer keeps the frame axis."""
        index = slice(frames, frames + 1) if isinstance(frames, int) else frames
        return PyramidLevel(self.stride, *(tensor[index] for tensor in self.tensors()))

    def tensors(self) -> tuple[Tensor, ...]:
        """Return the tensors in the order of their fields."""
        return (self.cls_tower, self.box_tower, self.logits, self.centerness, self.distances, self.boxes)


class FrameBoxes(NamedTuple):
    """Boxes of one frame in pixels of the network's input, by descending score.

    Attributes:
        boxes: x1, y1, x2, y2, float32 ``(n, 4)``.
        scores: In [0, 1], float32 ``(n,)``.
        labels: Class of each box, from 0, int64 ``(n,)``.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor


def cell_centres(size: tuple[int, int], stride: int, device: torch.device | str = "cpu") -> Tensor:
    """Return the centres of a level's cells, x and y in pixels, row by row, float32 ``(rows * columns, 2)``.

    Args:
        size: Rows and columns.
        stride: Distance between neighbouring cells, in pixels; the first centre is at ``stride // 2``.
        device: Device of the result.
    """
    # The integer half of the stride, as in FCOS: for odd strides half a pixel up and left of the true centre.
    y, x = (torch.arange(n, dtype=torch.float32, device=device) * stride + stride // 2 for n in size)
    grid = torch.meshgrid(y, x, indexing="ij")
    return torch.stack((grid[1], grid[0]), dim=-1).flatten(0, 1)


def distances_to_boxes(centres: Tensor, distances: Tensor) -> Tensor:
    """Return the boxes whose sides are at the given distances from the centres.

    Args:
        centres: ``(cells, 2)``, pixels.
        distances: Left, top, right, bottom, ``(..., cells, 4)``, pixels.

    Returns:
        x1, y1, x2, y2, ``(..., cells, 4)``.
    """
    return torch.cat((centres - distances[..., :2], centres + distances[..., 2:]), dim=-1)


def move_boxes(boxes: Tensor, deltas: Tensor) -> Tensor:
    """Move each side of a box by half its delta times the box's width or height.

    ``x1' = x1 + dx1 * w / 2``, ``y1' = y1 + dy1 * h / 2``, and the same for x2 and y2: each side moves independently,
    unlike the centre-and-size deltas of Faster R-CNN.

    Args:
        boxes: x1, y1, x2, y2, ``(..., 4)``.
        deltas: In the same order, ``(..., 4)``.
    """
    return boxes + 0.5 * deltas * _sides(boxes)


def box_deltas(boxes: Tensor, expected: Tensor) -> Tensor:
    """Return the deltas with which :func:`move_boxes` turns ``boxes``, of positive area, into ``expected``."""
    return (expected - boxes) / (0.5 * _sides(boxes))


def pixel_iou(boxes: Tensor, others: Tensor) -> Tensor:
    """Return the overlap of every pair of boxes whose last column and row count as inside.

    Widths, heights and areas are therefore one pixel larger than the difference of the coordinates. The published code
    assigns targets with this overlap, whereas it suppresses boxes with the usual one.

    Args:
        boxes: ``(n, 4)``.
        others: ``(m, 4)``.

    Returns:
        Intersection over union, ``(n, m)``.
    """
    areas, other_areas = ((b[:, 2] - b[:, 0] + 1) * (b[:, 3] - b[:, 1] + 1) for b in (boxes, others))
    corner = torch.maximum(boxes[:, None, :2], others[None, :, :2])
    end = torch.minimum(boxes[:, None, 2:], others[None, :, 2:])
    inside = (end - corner + 1).clamp(min=0).prod(dim=-1)
    return inside / (areas[:, None] + other_areas[None] - inside)


def _sides(boxes: Tensor) -> Tensor:
    """Return width, height, width, height of each box."""
    sides = boxes[..., 2:] - boxes[..., :2]
    return torch.cat((sides, sides), dim=-1)
