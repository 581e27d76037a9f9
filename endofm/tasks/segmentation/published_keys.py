"""Names of the published mask model's tensors (``cvc.pth``) and ours: one table, read both ways."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

_T = TypeVar("_T")

PUBLISHED_TO_OURS: tuple[tuple[str, str], ...] = (
    ("transformer.embeddings.position_embeddings", "head.pos_embed"),
    ("transformer.embeddings.hybrid_model.root.", "head.stem.root."),
    ("transformer.embeddings.hybrid_model.body.", "head.stem."),
    ("transformer.embeddings.patch_embeddings.", "head.patch_embed."),
    ("transformer.encoder.cls_token", "backbone.cls_token"),
    ("transformer.encoder.layer.", "backbone.blocks."),
    ("transformer.encoder.encoder_norm.", "backbone.norm."),
    ("decoder.", "head.decoder."),
    ("segmentation_head.0.", "head.classifier."),
)
"""Beginnings of names: in the published file, and here. What follows them is the same."""


def is_published_segmentation(names: Mapping[str, object]) -> bool:
    """Say whether tensors of these names, without wrappers' prefixes, are those of the published mask model."""
    return "transformer.embeddings.position_embeddings" in names and "segmentation_head.0.weight" in names


def from_published(tensors: Mapping[str, _T]) -> dict[str, _T]:
    """Rename the published model's tensors to our names; names that the table does not know stay as they are."""
    return {_renamed(name, PUBLISHED_TO_OURS): value for name, value in tensors.items()}


def to_published(tensors: Mapping[str, _T]) -> dict[str, _T]:
    """Rename our tensors to the published model's names, so that the original code can load them."""
    back = sorted(((ours, published) for published, ours in PUBLISHED_TO_OURS), key=lambda pair: -len(pair[0]))
    return {_renamed(name, back): value for name, value in tensors.items()}


def _renamed(name: str, table: tuple[tuple[str, str], ...] | list[tuple[str, str]]) -> str:
    for old, new in table:
        if name == old or (old.endswith(".") and name.startswith(old)):
            return new + name[len(old) :]
    return name
