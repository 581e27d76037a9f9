"""The second stage: towers of other frames, aligned to the target frame by their boxes and mixed into it.

Spatial-temporal feature transformation (STFT, arXiv 2107.02588), per level.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from endofm.tasks.detection.cells import Level, cell_centres
from endofm.tasks.detection.fcos import PRIOR, bias_of, init_convolutions
from endofm.tasks.detection.operators import deform_conv2d

_PIECE_BYTES = 256 * 2**20
"""Largest working memory of one deformable convolution, which spreads every map nine times."""


class Refined(NamedTuple):
    """What the second stage says about one level of some target frames.

    Attributes:
        logits: Class scores before the sigmoid, ``(targets, classes, h, w)``.
        deltas: Moves of the first stage's boxes (:func:`~endofm.tasks.detection.cells.move_boxes`),
            ``(targets, 4, h, w)``.
    """

    logits: Tensor
    deltas: Tensor


def box_geometry(level: Level) -> Tensor:
    """Return where each cell's box lies relative to the cell, in cells: four channels ``(frames, 4, h, w)``.

    Boxes and centres are clamped to the level, as the original does.
    """
    rows, columns = level.size
    last = torch.tensor([columns - 1, rows - 1], dtype=torch.float32, device=level.boxes.device)
    zero = torch.zeros_like(last)
    centres = torch.clamp(cell_centres(level.size, level.stride, level.boxes.device) / level.stride, zero, last)
    corners = torch.clamp(level.boxes.view(*level.boxes.shape[:2], 2, 2) / level.stride, zero, last)
    relative = (corners - centres[:, None]).flatten(-2)  # frames cells 4
    return relative.transpose(1, 2).reshape(len(relative), 4, rows, columns)


def mix_supports(target: Tensor, supports: Tensor) -> Tensor:
    """Add to each channel of the target a mean of the supports' channels, weighted by their likeness to it.

    The weights are the softmax over the supports of the inner product with the target's channel, over ``sqrt(h * w)``.
    Channels do not mix, and the order of the supports does not matter.

    Args:
        target: ``(targets, channels, h, w)``.
        supports: ``(targets, supports, channels, h, w)``; with no support the target stays as it is.
    """
    if supports.shape[1] == 0:
        return target
    likeness = torch.einsum("bchw,bkchw->bkc", target, supports) / math.sqrt(target.shape[-2] * target.shape[-1])
    return target + torch.einsum("bkc,bkchw->bchw", likeness.softmax(dim=1), supports)


class Align(nn.Module):
    """Deformable convolution whose offsets follow from the geometry of boxes (arXiv 1703.06211), then ReLU.

    In the original the offsets' map never learns: it keeps its random start, which the released weights rely on.

    Args:
        channels: Width of the maps.
        groups: Groups of channels that share their offsets.
    """

    def __init__(self, channels: int, groups: int = 4) -> None:
        super().__init__()
        self.conv_offset = nn.Conv2d(4, groups * 9 * 2, 1, bias=False)
        # Holds the weight under the published name; the operator below runs it.
        self.conv_adaption = nn.Conv2d(channels, channels, 3, padding=1, bias=False)

    def offsets(self, geometry: Tensor) -> Tensor:
        """Return the offsets: per group and tap of the kernel, down and right, ``(frames, groups * 18, h, w)``."""
        out: Tensor = self.conv_offset(geometry)
        return out

    def forward(self, maps: Tensor, geometry: Tensor) -> Tensor:
        """Align maps ``(frames, channels, h, w)`` by a geometry ``(frames, 4, h, w)``."""
        weight = self.conv_adaption.weight
        offsets = self.offsets(geometry.to(weight.dtype)).float()
        # The operator runs in float32; under autocast its operands would not agree.
        with torch.autocast(maps.device.type, enabled=False):
            frames = max(_PIECE_BYTES // (9 * 4 * maps[0].numel()), 1)
            aligned = torch.cat(
                [
                    deform_conv2d(maps[i : i + frames].float(), offsets[i : i + frames], weight.float(), padding=1)
                    for i in range(0, len(maps), frames)
                ]
            )
        return torch.relu(aligned)


class Refinement(nn.Module):
    """Class scores and box moves of target frames, from their own towers and those of support frames.

    Args:
        num_classes: Foreground classes.
        channels: Width of the towers.
        groups: Groups of the deformable convolutions.
    """

    def __init__(self, num_classes: int, *, channels: int = 256, groups: int = 4) -> None:
        super().__init__()
        self.cls_align = Align(channels, groups)
        self.box_align = Align(channels, groups)
        self.cls_logits = nn.Conv2d(channels, num_classes, 3, padding=1)
        self.box_deltas = nn.Conv2d(channels, 4, 3, padding=1)
        init_convolutions(self)
        nn.init.constant_(bias_of(self.cls_logits), -math.log((1 - PRIOR) / PRIOR))

    def forward(self, targets: Sequence[Level], supports: Sequence[Level]) -> list[Refined]:
        """Refine every level.

        Args:
            targets: First stage of the target frames, one entry per level.
            supports: First stage of the support frames, likewise; those of one target follow one another, so that
                there are ``K`` times as many as targets, ``K >= 0``.
        """
        return [self.refine_level(target, support) for target, support in zip(targets, supports, strict=True)]

    def refine_level(self, target: Level, support: Level) -> Refined:
        """Refine one level."""
        cls_map, box_map = self.fuse(target, support)
        dtype = self.cls_logits.weight.dtype
        return Refined(self.cls_logits(cls_map.to(dtype)), self.box_deltas(box_map.to(dtype)))

    def fuse(self, target: Level, support: Level) -> tuple[Tensor, Tensor]:
        """Return the fused class and box maps of the targets, ``(targets, channels, h, w)`` each."""
        count = len(target.boxes)
        supports = len(support.boxes) // count
        geometry = self.geometry(target, support)
        fused = []
        for align, own, others in (
            (self.cls_align, target.cls_tower, support.cls_tower),
            (self.box_align, target.box_tower, support.box_tower),
        ):
            aligned = align(torch.cat((own, others)), geometry)
            fused.append(mix_supports(aligned[:count], aligned[count:].unflatten(0, (count, supports))))
        return fused[0], fused[1]

    @staticmethod
    def geometry(target: Level, support: Level) -> Tensor:
        """Return what the offsets are made from: a target's own geometry, and target minus support for supports.

        Returns:
            ``(targets + supports, 4, h, w)``, in cells.
        """
        own, others = box_geometry(target), box_geometry(support)
        return torch.cat((own, own.repeat_interleave(len(others) // len(own), dim=0) - others))
