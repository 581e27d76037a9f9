"""Who learns, who chooses the epoch, and who is reported on: never the same patient or video twice."""

from __future__ import annotations

import numpy as np

from endofm.data.clip_table import ClipTable
from endofm.data.listing import read_clips
from endofm.data.splits import split_by_group
from endofm.errors import InputError
from endofm.training.finetune.subsets import Subsets

_SUBSETS = ("train", "val", "test")
_TRIES = 50


def read_subsets(
    train: tuple[str, ...],
    validation: tuple[str, ...] = (),
    test: tuple[str, ...] = (),
    *,
    classes: tuple[str, ...] = (),
    root: str | None = None,
    fraction: float = 0.2,
    select_on_test: bool = False,
    seed: int = 0,
    all_labels: bool = False,
) -> Subsets[ClipTable]:
    """Read lists and manifests, and hold out a validation set if none is named.

    A manifest whose clips have subsets gives ``train`` here and ``val`` and ``test`` there, unless these are named.

    Args:
        train: Sources to learn from; see :func:`~endofm.data.listing.read_clips`.
        validation: Sources to choose the epoch on.
        test: Sources to report on.
        classes: Names of the classes; those of ``train`` by default.
        root: Folder that paths in lists are relative to.
        fraction: Share of the groups of ``train`` that is held out where there is no validation.
        select_on_test: Use the test set as validation, as published.
        seed: Seed of the held-out part.
        all_labels: Take the labels of all sources as classes, not those of ``train`` alone.

    Raises:
        InputError: If something cannot be read, is empty, or is on two sides.
    """
    if all_labels and not classes:
        tables = [read_clips(*sources, root=root) for sources in (train, validation, test) if sources]
        classes = tuple(sorted({name for table in tables for name in table.classes}))
    whole = read_clips(*train, classes=classes or None, root=root)
    names = whole.classes
    places = {name: np.flatnonzero(np.array([s == name for s in whole.split])) for name in _SUBSETS}
    has_subsets = len(places["train"]) > 0
    learn = whole.take(places["train"]) if has_subsets else whole
    chosen, reported = (read_clips(*s, classes=names, root=root) if s else None for s in (validation, test))
    if has_subsets:
        chosen = whole.take(places["val"]) if chosen is None and len(places["val"]) else chosen
        reported = whole.take(places["test"]) if reported is None and len(places["test"]) else reported
    notes = []
    if select_on_test:
        if reported is None:
            raise InputError("choosing the epoch on the test set needs a test set")
        chosen = reported
        notes.append("The epoch was chosen on the test set, as published: these numbers are too good.")
    elif chosen is None:
        chosen, learn = _held_out(learn, fraction, seed)
    for name, table in (("training", learn), ("validation", chosen)):
        if not len(table):
            raise InputError(f"the {name} set is empty")
    _require_apart("training", learn, "validation", chosen)
    if reported is not None:
        _require_apart("training", learn, "test", reported)
        if not select_on_test:
            _require_apart("validation", chosen, "test", reported)
    return Subsets(learn, chosen, reported, tuple(notes))


def _held_out(table: ClipTable, fraction: float, seed: int) -> tuple[ClipTable, ClipTable]:
    """Return a held-out part and the rest: of several deals the best, classes on both sides before the right size."""
    if len({table.group(place) for place in range(len(table))}) < 2:
        raise InputError("a validation set cannot be held out of a single patient or video; name one (data.validation)")
    present = set(table.label[table.label >= 0].tolist())
    best: tuple[tuple[int, float], ClipTable, ClipTable] | None = None
    for attempt in range(_TRIES):
        parts = split_by_group(table, {"held": fraction, "rest": 1 - fraction}, seed=seed * _TRIES + attempt)
        held, rest = table.take(parts["held"]), table.take(parts["rest"])
        if not len(held) or not len(rest):
            continue
        missing = sum(len(present - set(part.label.tolist())) for part in (held, rest))
        quality = missing, abs(len(held) / len(table) - fraction)
        if best is None or quality < best[0]:
            best = quality, held, rest
    if best is None:
        raise InputError(f"no deal of the patients or videos leaves {fraction:g} of them for validation; name a set")
    return best[1], best[2]


def _require_apart(name: str, table: ClipTable, other_name: str, other: ClipTable) -> None:
    groups = [{part.group(place) for place in range(len(part))} for part in (table, other)]
    both = sorted(groups[0] & groups[1])
    if both:
        raise InputError(
            f"{len(both)} patients or videos are both in the {name} set and in the {other_name} set "
            f"({', '.join(both[:3])}); a score on them would say nothing about new ones"
        )
