"""Names of the published detector's tensors (``kumc.pth``) and ours: one table, read both ways."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from endofm.hub.keys import strip_wrappers

_T = TypeVar("_T")

PUBLISHED_TO_OURS: tuple[tuple[str, str], ...] = (
    ("backbone.body.fpn2.0.", "head.pyramid.up."),
    ("backbone.body.", "backbone."),
    ("backbone.fpn.fpn_inner2.", "head.pyramid.fpn.inner_blocks.0.0."),
    ("backbone.fpn.fpn_inner3.", "head.pyramid.fpn.inner_blocks.1.0."),
    ("backbone.fpn.fpn_inner4.", "head.pyramid.fpn.inner_blocks.2.0."),
    ("backbone.fpn.fpn_layer2.", "head.pyramid.fpn.layer_blocks.0.0."),
    ("backbone.fpn.fpn_layer3.", "head.pyramid.fpn.layer_blocks.1.0."),
    ("backbone.fpn.fpn_layer4.", "head.pyramid.fpn.layer_blocks.2.0."),
    ("backbone.fpn.top_blocks.", "head.pyramid.fpn.extra_blocks."),
    ("rpn.head.dcn_cls_subnet.", "head.refinement.cls_align."),
    ("rpn.head.dcn_bbox_subnet.", "head.refinement.box_align."),
    ("rpn.head.dcn_cls_score.", "head.refinement.cls_logits."),
    ("rpn.head.dcn_bbox_pred.", "head.refinement.box_deltas."),
    ("rpn.head.", "head.first."),
)
"""Beginnings of names: in the published file, and here; the first that fits counts. What follows is the same."""

UNUSED = "backbone.body.fpn1."
"""Beginning of the names of a level that the original saves and never runs."""


def is_published_detector(names: Mapping[str, object]) -> bool:
    """Say whether tensors of these names are those of the published detector."""
    stripped = {strip_wrappers(name) for name in names}
    return "rpn.head.cls_logits.weight" in stripped and "backbone.body.cls_token" in stripped


def from_published(tensors: Mapping[str, _T]) -> tuple[dict[str, _T], tuple[str, ...]]:
    """Rename the published detector's tensors.

    Args:
        tensors: By their names in the file, with or without the prefixes of wrappers.

    Returns:
        The tensors by our names, and the names of those that are left out because the original never runs them. A name
        that the table does not know stays as it is, so that a strict check finds it.
    """
    renamed: dict[str, _T] = {}
    unused = []
    for name, value in tensors.items():
        bare = strip_wrappers(name)
        if bare.startswith(UNUSED):
            unused.append(name)
        else:
            renamed[_renamed(bare, PUBLISHED_TO_OURS)] = value
    return renamed, tuple(unused)


def to_published(tensors: Mapping[str, _T]) -> dict[str, _T]:
    """Rename our tensors to the published detector's names; :data:`UNUSED` is not among them."""
    back = sorted(((ours, published) for published, ours in PUBLISHED_TO_OURS), key=lambda pair: -len(pair[0]))
    return {_renamed(name, back): value for name, value in tensors.items()}


def _renamed(name: str, table: tuple[tuple[str, str], ...] | list[tuple[str, str]]) -> str:
    for old, new in table:
        if name.startswith(old):
            return new + name[len(old) :]
    return name
