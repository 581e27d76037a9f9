"""Tensor names: wrappers' prefixes, and the two spellings of weight normalisation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

_T = TypeVar("_T")

_WRAPPERS = ("module.", "model.")
"""Prefixes of DistributedDataParallel and of older TimeSformer files; they may be nested."""

_HEADS = ("head.", "linear.")
"""First parts of names that belong to a projection head or classifier, not to the encoder."""

# torch.nn.utils.weight_norm stores g and v; its successor in torch.nn.utils.parametrizations numbers the originals.
_LEGACY = {
    ".weight_g": ".parametrizations.weight.original0",
    ".weight_v": ".parametrizations.weight.original1",
}
_PARAMETRIZED = {new: old for old, new in _LEGACY.items()}


def strip_wrappers(name: str) -> str:
    """Return a tensor's name without the prefixes that wrappers around a model put before it."""
    stripped = True
    while stripped:
        stripped = False
        for prefix in _WRAPPERS:
            if name.startswith(prefix):
                name, stripped = name[len(prefix) :], True
    return name


def encoder_name(name: str) -> str | None:
    """Return a tensor's name without the prefixes of wrappers, or None if it belongs to a head.

    The prefixes are those of the published files: ``module.backbone.`` (student), ``backbone.`` (teacher and the
    Kinetics weights), ``module.`` (fine-tuned), ``model.`` (older TimeSformer files) or none.
    """
    name = strip_wrappers(name)
    if name.startswith("backbone."):
        return name[len("backbone.") :]
    return None if name.startswith(_HEADS) else name


def to_parametrized(tensors: Mapping[str, _T]) -> dict[str, _T]:
    """Rename ``*.weight_g`` and ``*.weight_v`` to the names of a parametrised weight normalisation."""
    return {_swap_ending(name, _LEGACY): value for name, value in tensors.items()}


def to_legacy(tensors: Mapping[str, _T]) -> dict[str, _T]:
    """Rename the tensors of a parametrised weight normalisation to ``*.weight_g`` and ``*.weight_v``."""
    return {_swap_ending(name, _PARAMETRIZED): value for name, value in tensors.items()}


def duplicates(names: Iterable[str]) -> list[str]:
    """Return the names that occur more than once, each once, in order of their second occurrence."""
    seen: set[str] = set()
    repeated: dict[str, None] = {}
    for name in names:
        if name in seen:
            repeated[name] = None
        seen.add(name)
    return list(repeated)


def _swap_ending(name: str, endings: Mapping[str, str]) -> str:
    for old, new in endings.items():
        if name.endswith(old):
            return name[: -len(old)] + new
    return name
