"""The second stage: spatial-temporal feature transformation (STFT, arXiv 2107.02588), level by level.

The towers of support frames are aligned to a target frame by their boxes, mixed into its towers by similarity, and
class scores and box moves are predicted from the mixture.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from endofm.tasks.detection.cells import PyramidLevel, cell_centres
from endofm.tasks.detection.fcos import init_class_bias, init_convolutions
from endofm.tasks.detection.operators import deform_conv2d

_PIECE_BYTES = 256 * 2**20
"""Largest working memory of one deformable convolution, which unfolds every map nine times."""

_TAPS = 9
"""Samples of a 3 x 3 kernel."""


class RefinedLevel(NamedTuple):
    """Second-stage output for one pyramid level of some target frames.

    Attributes:
        logits: Class logits, ``(targets, classes, h, w)``.
        deltas: Moves of the first stage's boxes (:func:`~endofm.tasks.detection.cells.move_boxes`),
            ``(targets, 4, h, w)``.
    """

    logits: Tensor
    deltas: Tensor


def box_geometry(level: PyramidLevel) -> Tensor:
    """Return the corners of each cell's box relative to the cell, in cells: four channels ``(frames, 4, h, w)``.

    Boxes and centres are clamped to the level, as in the published code.
    """
    rows, columns = level.size
    last = torch.tensor([columns - 1, rows - 1], dtype=torch.float32, device=level.boxes.device)
    zero = torch.zeros_like(last)
    centres = torch.clamp(cell_centres(level.size, level.stride, level.boxes.device) / level.stride, zero, last)
    corners = torch.clamp(level.boxes.view(*level.boxes.shape[:2], 2, 2) / level.stride, zero, last)
    relative = (corners - centres[:, None]).flatten(-2)  # frames cells 4
    return relative.transpose(1, 2).reshape(len(relative), 4, rows, columns)


def mix_supports(target: Tensor, supports: Tensor) -> Tensor:
    """Add to each channel of the target a mean of the supports' channels, weighted by their similarity to it.

    With ``t_c`` and ``s_kc`` the maps of channel ``c`` of the target and of support ``k``::

        w_kc = softmax over k of <t_c, s_kc> / sqrt(h * w)
        out_c = t_c + sum over k of w_kc * s_kc

    This is attention with channels as queries: channels do not mix, and the order of the supports
    does not matter.

    Args:
        target: ``(targets, channels, h, w)``.
        supports: ``(targets, supports, channels, h, w)``; without supports the target is returned unchanged.
    """
    if supports.shape[1] == 0:
        return target
    # A map has h * w entries, so this is the usual 1 / sqrt(dimension) of attention.
    similarity = torch.einsum("bchw,bkchw->bkc", target, supports) / math.sqrt(target.shape[-2] * target.shape[-1])
    return target + torch.einsum("bkc,bkchw->bchw", similarity.softmax(dim=1), supports)


class Align(nn.Module):
    """Deformable convolution whose offsets follow from the geometry of boxes (arXiv 1703.06211), then ReLU.

    A regular 3 x 3 convolution samples its input at ``p + p_n`` for the nine taps ``p_n``; the deformable one samples
    at ``p + p_n + offset_n(p)``, bilinearly. Here the offsets are a linear function of the boxes: where the object of
    a support frame is displaced from that of the target frame, its features are fetched from there.

    In the published code the offsets' weights are never trained: they keep their random initialisation, which the
    released weights rely on.

    Args:
        channels: Width of the maps.
        groups: Groups of channels that share their offsets.
    """

    def __init__(self, channels: int, groups: int = 4) -> None:
        super().__init__()
        self.conv_offset = nn.Conv2d(4, groups * _TAPS * 2, 1, bias=False)
        # This module only holds the weight under its published name; forward() passes it to the operator.
        self.conv_adaption = nn.Conv2d(channels, channels, 3, padding=1, bias=False)

    def offsets(self, geometry: Tensor) -> Tensor:
        """Return the offsets: per group and tap, down and right, ``(frames, groups * 18, h, w)``."""
        out: Tensor = self.conv_offset(geometry)
        return out

    def forward(self, maps: Tensor, geometry: Tensor) -> Tensor:
        """Align maps ``(frames, channels, h, w)`` by a geometry ``(frames, 4, h, w)``."""
        weight = self.conv_adaption.weight
        offsets = self.offsets(geometry.to(weight.dtype)).float()
        # The operator takes operands of one type; autocast would convert some of them and not others.
        with torch.autocast(maps.device.type, enabled=False):
            # The operator reads outside of its memory where an offset is NaN or exceeds an integer, which ends the
            # process. Beyond twice the map every sample is zero, so a bound there changes nothing; NaN stays NaN in the
            # result, where it is reported.
            undefined = offsets.isnan()
            bound = 2.0 * max(maps.shape[-2:])
            offsets = offsets.masked_fill(undefined, 0.0).clamp(-bound, bound)
            # The operator unfolds all frames at once: 9 float32 copies of every map. In pieces, its memory stays
            # bounded however many supports there are; frames are independent, so the result is the same.
            frames = max(_PIECE_BYTES // (_TAPS * 4 * maps[0].numel()), 1)
            aligned = torch.cat(
                [
                    deform_conv2d(maps[i : i + frames].float(), offsets[i : i + frames], weight.float(), padding=1)
                    for i in range(0, len(maps), frames)
                ]
            )
            aligned = aligned.masked_fill(undefined.any(dim=1, keepdim=True), math.nan)
        return torch.relu(aligned)


class Refinement(nn.Module):
    """Class scores and box moves of target frames, from their towers and those of support frames.

    Args:
        num_classes: Number of object classes.
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
        init_class_bias(self.cls_logits)

    def forward(self, targets: Sequence[PyramidLevel], supports: Sequence[PyramidLevel]) -> list[RefinedLevel]:
        """Refine every level.

        Args:
            targets: First stage of the target frames, one entry per level.
            supports: First stage of the support frames, one entry per level, grouped by target: ``K`` times as many
                frames as targets, ``K >= 0``.
        """
        return [self.refine_level(target, support) for target, support in zip(targets, supports, strict=True)]

    def refine_level(self, target: PyramidLevel, support: PyramidLevel) -> RefinedLevel:
        """Refine one level."""
        cls_map, box_map = self.fuse(target, support)
        dtype = self.cls_logits.weight.dtype
        return RefinedLevel(self.cls_logits(cls_map.to(dtype)), self.box_deltas(box_map.to(dtype)))

    def fuse(self, target: PyramidLevel, support: PyramidLevel) -> tuple[Tensor, Tensor]:
        """Return the fused class and box maps of the targets, ``(targets, channels, h, w)`` each."""
        count = len(target.boxes)
        supports = len(support.boxes) // count
        geometry = self.geometry(target, support)
        fused = []
        for align, target_map, support_maps in (
            (self.cls_align, target.cls_tower, support.cls_tower),
            (self.box_align, target.box_tower, support.box_tower),
        ):
            # Targets pass through the same alignment, by their own boxes: only aligned maps are comparable.
            aligned = align(torch.cat((target_map, support_maps)), geometry)
            fused.append(mix_supports(aligned[:count], aligned[count:].unflatten(0, (count, supports))))
        return fused[0], fused[1]

    @staticmethod
    def geometry(target: PyramidLevel, support: PyramidLevel) -> Tensor:
        """Return the input of the offsets: a target's own geometry, and target minus support for supports.

        Returns:
            ``(targets + supports, 4, h, w)``, in cells.
        """
        targets, supports = box_geometry(target), box_geometry(support)
        return torch.cat((targets, targets.repeat_interleave(len(supports) // len(targets), dim=0) - supports))
