"""Tensor names of the published files, the reverse of what the package reads: for files that tests write."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

from endofm.hub.task_layout import rename
from endofm.tasks.detection import layout as detection
from endofm.tasks.segmentation import layout as segmentation

_T = TypeVar("_T")


def to_published_detector(tensors: Mapping[str, _T]) -> dict[str, _T]:
    """Rename a detector's tensors to those of ``kumc.pth``; ``UNUSED`` is not among them."""
    return _reversed(tensors, detection.PUBLISHED_TO_OURS)


def to_published_segmentation(tensors: Mapping[str, _T]) -> dict[str, _T]:
    """Rename a segmentation model's tensors to those of ``cvc.pth``."""
    return _reversed(tensors, segmentation.PUBLISHED_TO_OURS)


def to_parametrized(tensors: Mapping[str, _T]) -> dict[str, _T]:
    """Rename ``*.weight_g`` and ``*.weight_v`` to the names of a parametrised weight normalisation."""
    endings = {
        ".weight_g": ".parametrizations.weight.original0",
        ".weight_v": ".parametrizations.weight.original1",
    }
    return {name.removesuffix(name[-9:]) + endings.get(name[-9:], name[-9:]): t for name, t in tensors.items()}


def _reversed(tensors: Mapping[str, _T], table: Iterable[tuple[str, str]]) -> dict[str, _T]:
    # Longest first: "backbone.blocks." before "backbone.".
    back = sorted(((ours, published) for published, ours in table), key=lambda pair: -len(pair[0]))
    return {rename(name, back): tensor for name, tensor in tensors.items()}
