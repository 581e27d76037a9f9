"""Who learns, who chooses the epoch, and who is reported on: never the same patient or video twice."""

from __future__ import annotations

import numpy as np

from endofm.data.clip_table import ClipTable
from endofm.data.hold_out import hold_out
from endofm.data.listing import read_clips
from endofm.errors import InputError
from endofm.training.finetune.subsets import Subsets

_SUBSETS = ("train", "val", "test")


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
    allow_overlap: bool = False,
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
        allow_overlap: Describe an overlap in the notes rather than refuse it.
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
    for name, table in (("training", learn), ("validation", chosen)):
        if table is not None and not len(table):
            raise InputError(f"the {name} set is empty")
    return Subsets.of(
        learn,
        chosen,
        reported,
        hold_out=lambda table: _held_out(table, fraction, seed),
        groups_of=lambda table: {table.group(row) for row in range(len(table))},
        select_on_test=select_on_test,
        allow_overlap=allow_overlap,
    )


def _held_out(table: ClipTable, fraction: float, seed: int) -> tuple[ClipTable, ClipTable]:
    train, held = hold_out(
        range(len(table)), table.group, fraction, seed, labels_of=lambda row: [int(table.label[row])]
    )
    return table.take(train), table.take(held)
