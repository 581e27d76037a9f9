"""Held-out sets by patient or video, and the check that two sets do not share one.

Every part of the package that separates labelled data uses these two functions: clips of one patient resemble one
another, and a score on a patient that was trained on says little about new patients.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from itertools import combinations
from typing import TypeVar

from endofm.errors import InputError

Item = TypeVar("Item")

_SHOWN = 3


def hold_out(
    items: Sequence[Item],
    group_of: Callable[[Item], str],
    fraction: float,
    seed: int = 0,
    *,
    labels_of: Callable[[Item], Iterable[Hashable]] | None = None,
) -> tuple[list[Item], list[Item]]:
    """Split items into a part to train on and a held-out part that share no patient or video.

    Groups are taken in the order of a SHA-256 hash of seed and name. Of the usual ways this one is the most stable: the
    order of the items does not matter (a shuffled permutation depends on it, or at least on the number of groups), and
    a patient who joins the set leaves all others on their side, except that one may move with the rounded number. The
    number of held-out groups is exact, unlike with an independent draw per group, which may leave a small set with no
    held-out group at all.

    With ``labels_of`` the hash order is followed as far as it leaves every label on both sides: first, rare labels
    before common ones, a group of each label is held out, and no group is taken that would leave none of a label to
    train on. A label that one group alone shows cannot be on both sides.

    Args:
        items: The items, in any order.
        group_of: Returns the patient, else the video, of an item.
        fraction: Fraction of the groups to hold out, in (0, 1): rounded, but at least one group and not all of them.
        seed: Another seed gives another split.
        labels_of: Returns the labels of an item.

    Returns:
        Items to train on and held-out items, each in the order given.

    Raises:
        InputError: If all items belong to one group.
    """
    labels: dict[str, set[Hashable]] = {}
    for item in items:
        labels.setdefault(group_of(item), set()).update(labels_of(item) if labels_of is not None else ())
    if len(labels) < 2:
        raise InputError("a validation set cannot be held out of a single patient or video; name one (data.validation)")
    count = min(max(round(fraction * len(labels)), 1), len(labels) - 1)
    order = sorted(labels, key=lambda name: _digest(seed, name))
    held = _cover_labels(order, labels, count)
    return [item for item in items if group_of(item) not in held], [item for item in items if group_of(item) in held]


def require_disjoint(
    sets: Mapping[str, Collection[str]],
    *,
    allow: bool = False,
    unit: str = "patients or videos",
    remedy: str = "",
) -> list[str]:
    """Raise if two sets share a patient or video.

    Args:
        sets: Name of each set, e.g. ``"training"``, and its patients or videos.
        allow: Describe an overlap rather than refuse it.
        unit: Name of the elements, for the message.
        remedy: How an intended overlap is allowed, a sentence for the end of the message.

    Returns:
        One sentence for every pair of sets that overlap; empty unless ``allow``.

    Raises:
        InputError: If sets overlap and that is not allowed; the message names both sets and the first shared elements.
    """
    notes = []
    for (name, one), (other_name, other) in combinations(sets.items(), 2):
        shared = sorted(set(one) & set(other))
        if not shared:
            continue
        fact = f"{len(shared)} {unit} are both in the {name} set and in the {other_name} set"
        if not allow:
            raise InputError(
                f"{fact} ({', '.join(shared[:_SHOWN])}); a score on them would say nothing about new ones"
                f"{f'. {remedy}' if remedy else ''}"
            )
        notes.append(f"{fact}: these numbers say little about new ones.")
    return notes


def _cover_labels(order: Sequence[str], labels: Mapping[str, set[Hashable]], count: int) -> set[str]:
    """Return ``count`` groups, the first ones of an order that leave as many labels as possible on both sides."""
    # Groups of each label that are not held out.
    remaining: dict[Hashable, int] = {}
    for group in order:
        for label in labels[group]:
            remaining[label] = remaining.get(label, 0) + 1
    held: dict[str, None] = {}

    def hold(group: str) -> None:
        held[group] = None
        for label in labels[group]:
            remaining[label] -= 1

    def spares(group: str) -> bool:
        return all(remaining[label] > 1 for label in labels[group])

    # Rare labels first, as they have the fewest groups to choose from; equally rare ones by their names, since the
    # order of a set of strings changes from process to process.
    for label in sorted(remaining, key=lambda label: (remaining[label], str(label))):
        covered = any(label in labels[group] for group in held)
        candidate = next((group for group in order if label in labels[group] and spares(group)), None)
        if not covered and candidate is not None and len(held) < count:
            hold(candidate)
    for allowed in (spares, lambda group: True):
        for group in order:
            if len(held) < count and group not in held and allowed(group):
                hold(group)
    return set(held)


def _digest(seed: int, name: str) -> bytes:
    return hashlib.sha256(f"{seed}\n{name}".encode("utf-8", "surrogateescape")).digest()
