"""State dicts inside a checkpoint: the entries that training loops store them in, whatever the entries are called."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from endofm.errors import CheckpointFormatError, InputError, quoted
from endofm.hub.tensor_file import unwrapped_name

_DEPTH = 3
"""Levels of mappings that are searched, counted from the content of the file."""

_SHOWN = 8
"""Number of names that a message lists."""


@dataclass(frozen=True)
class StateDict:
    """Named tensors in a checkpoint.

    Attributes:
        entry: Keys that lead to them, joined by dots; empty for the file itself.
        tensors: Tensors by their names in the file.
        others: Names of the other entries of the file, and of what else is stored among the tensors.
    """

    entry: str
    tensors: Mapping[str, Tensor]
    others: tuple[str, ...]


def select_state_dict(
    content: Mapping[str, Any],
    fits: Callable[[set[str]], bool],
    *,
    kind: str,
    part: str | None = None,
    preferred: tuple[str, ...] = (),
    source: str = "checkpoint",
) -> StateDict | None:
    """Return the one state dict of a kind in the content of a checkpoint, or None if there is none.

    An entry on a higher level is taken before all that are deeper: the moments of an optimiser have the names of the
    weights, too, but not their place.

    Args:
        content: Result of :func:`~endofm.hub.checkpoint_file.read_checkpoint`.
        fits: Decides by the names of tensors, without those of wrappers, whether they are of the kind.
        kind: Kind of model with its article, for messages.
        part: Entry to take.
        preferred: Entries to take before all others of their level, best first.
        source: Name of the file, for messages.

    Raises:
        InputError: If the entry ``part`` is missing or not of the kind.
        CheckpointFormatError: If several entries are of the kind, so that the right one would be a guess.
    """
    for level in _levels(content):
        found = [each for each in level if _fit(each, fits)]
        if part is not None:
            found = [each for each in found if each.entry == part]
        found = next(([each] for name in preferred for each in found if each.entry == name), found)
        if len(found) > 1:
            names = ", ".join(quoted(each.entry) for each in found[:_SHOWN])
            raise CheckpointFormatError(
                f"{source}: the entries {names} all hold {kind}; convert the one that is meant: "
                "`endofm convert --part ENTRY`"
            )
        if found:
            return found[0]
    if part is not None:
        every = [each.entry for level in _levels(content) for each in level if each.entry]
        held = ", ".join(map(quoted, every[:_SHOWN])) or "no entries with tensors"
        raise InputError(f"{source}: part {quoted(part)} was requested as {kind}, but the file holds {held}")
    return None


def holds_state_dict(content: Mapping[str, Any], fits: Callable[[set[str]], bool]) -> bool:
    """Return whether any entry of a checkpoint is of a kind; see :func:`select_state_dict`."""
    return any(_fit(each, fits) for level in _levels(content) for each in level)


def first_state_dict(content: Mapping[str, Any]) -> StateDict | None:
    """Return any state dict of a checkpoint, the highest and largest; it serves to describe a file in a message."""
    for level in _levels(content):
        if level:
            return max(level, key=lambda each: len(each.tensors))
    return None


def _fit(found: StateDict, fits: Callable[[set[str]], bool]) -> bool:
    return fits({unwrapped_name(name) for name in found.tensors})


def _levels(content: Mapping[str, Any]) -> Iterator[list[StateDict]]:
    """Yield the mappings that hold named tensors, level by level."""
    level: list[tuple[str, Mapping[Any, Any]]] = [("", content)]
    seen = {id(content)}
    top = tuple(str(name) for name in content)
    for _ in range(_DEPTH):
        found, below = [], []
        for entry, mapping in level:
            tensors = {
                name: value for name, value in mapping.items() if isinstance(name, str) and isinstance(value, Tensor)
            }
            if tensors:
                rest = (str(name) for name in mapping if name not in tensors)
                others = tuple(name for name in top if name != entry.split(".")[0]) if entry else ()
                found.append(StateDict(entry, tensors, (*others, *rest)))
            for name, value in mapping.items():
                # A hostile file can repeat one mapping so often that visiting every occurrence would never end.
                if isinstance(value, Mapping) and id(value) not in seen:
                    seen.add(id(value))
                    below.append((f"{entry}.{name}" if entry else str(name), value))
        yield found
        level = below
