"""Cells of a level, and the boxes that they stand for."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Level(NamedTuple):
    """What the first stage says about one level of some frames.

    Attributes:
        stride: Pixels from one cell to the next.
        cls_tower: Last map of the class tower, ``(frames, channels, h, w)``.
        box_tower: Last map of the box tower, likewise.
        logits: Class scores before the sigmoid, ``(frames, classes, h, w)``.
        centerness: How central a cell lies in its object, before the sigmoid, ``(frames, 1, h, w)``.
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

    def take(self, frames: int | slice | Tensor) -> Level:
        """Return the same level of some of the frames; one number keeps the axis of frames."""
        index = slice(frames, frames + 1) if isinstance(frames, int) else frames
        return Level(self.stride, *(tensor[index] for tensor in self.tensors()))

    def tensors(self) -> tuple[Tensor, ...]:
        """Return the tensors, in order of their fields."""
        return (self.cls_tower, self.box_tower, self.logits, self.centerness, self.distances, self.boxes)


def cell_centres(size: tuple[int, int], stride: int, device: torch.device | str = "cpu") -> Tensor:
    """Return the centres of a level's cells, x and y in pixels, row by row, float32 ``(rows * columns, 2)``.

    Args:
        size: Rows and columns.
        stride: Pixels from one cell to the next; the first centre lies at ``stride // 2``.
        device: Where to put them.
    """
    y, x = (torch.arange(n, dtype=torch.float32, device=device) * stride + stride // 2 for n in size)
    grid = torch.meshgrid(y, x, indexing="ij")
    return torch.stack((grid[1], grid[0]), dim=-1).flatten(0, 1)


def distances_to_boxes(centres: Tensor, distances: Tensor) -> Tensor:
    """Return the boxes whose sides lie at the given distances.

    Args:
        centres: ``(cells, 2)``, pixels.
        distances: Left, top, right, bottom, ``(..., cells, 4)``, pixels.

    Returns:
        x1, y1, x2, y2, ``(..., cells, 4)``.
    """
    return torch.cat((centres - distances[..., :2], centres + distances[..., 2:]), dim=-1)


def move_boxes(boxes: Tensor, deltas: Tensor) -> Tensor:
    """Move each side of a box by half its delta times the box's own width or height.

    Args:
        boxes: x1, y1, x2, y2, ``(..., 4)``.
        deltas: In the same order, ``(..., 4)``.
    """
    return boxes + 0.5 * deltas * _sides(boxes)


def box_deltas(boxes: Tensor, wanted: Tensor) -> Tensor:
    """Return the deltas by which :func:`move_boxes` turns ``boxes``, which must have an area, into ``wanted``."""
    return (wanted - boxes) / (0.5 * _sides(boxes))


def pixel_iou(boxes: Tensor, others: Tensor) -> Tensor:
    """Return the overlap of every pair of boxes whose last column and row count as inside.

    Widths, heights and areas are therefore one pixel larger than the difference of the coordinates, which is how the
    original assigns targets.

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
