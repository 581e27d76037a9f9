"""Comparison of the detector's intermediate maps with stored ones."""

from __future__ import annotations

import torch

from endofm.tasks.detection.cells import PyramidLevel
from endofm.tasks.detection.detector import DetectionHead
from helpers import detection_fill as fill


def check_level(
    head: DetectionHead, goldens: fill.Goldens, prefix: str, i: int, features: torch.Tensor, level: PyramidLevel
) -> None:
    """Compare every intermediate map of one level."""
    name, refinement = fill.LEVELS[i], head.refinement
    target, support = level.select(0), level.select(slice(1, None))
    geometry = refinement.geometry(target, support)
    fused_cls, fused_box = refinement.fuse(target, support)
    for key, value in {
        "fpn": features,
        "cls_tower": level.cls_tower,
        "bbox_tower": level.box_tower,
        "logits": level.logits[0],
        "centerness": level.centerness[0],
        "ltrb": level.distances[0],
        "boxes": level.boxes[0],
        "geometry": geometry.flatten(2).transpose(1, 2),
        "offset_cls": refinement.cls_align.offsets(geometry),
        "offset_reg": refinement.box_align.offsets(geometry),
        "aligned_cls": refinement.cls_align(level.cls_tower, geometry),
        "aligned_reg": refinement.box_align(level.box_tower, geometry),
        "fused_cls": fused_cls,
        "fused_reg": fused_box,
    }.items():
        if f"{prefix}/{key}/{name}" in goldens.index or key != "fpn":
            goldens.check(f"{prefix}/{key}/{name}", value)
