"""Splits for cross-validation and few-shot evaluation that never separate the clips of a patient or video."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from endofm.errors import InputError, quoted, require_extra

Int64Array = npt.NDArray[np.int64]


def group_folds(
    labels: Int64Array, groups: Sequence[str], classes: Sequence[str], folds: int, *, seed: int = 0
) -> Iterator[tuple[Int64Array, Int64Array]]:
    """Yield indices to train on and indices to test on; every item is tested once, together with its group.

    Groups are dealt so that the classes have about the same frequency in every fold (``StratifiedGroupKFold`` of
    scikit-learn).

    Args:
        labels: Class of every item, index into ``classes``.
        groups: Patient or video of every item.
        classes: Names of the classes.
        folds: Number of folds, >= 2.
        seed: Seed of the deal.

    Raises:
        InputError: If a class has fewer groups than there are folds, so that a fold would lack it.
    """
    if folds < 2:
        raise InputError(f"cross-validation needs at least 2 folds, got {folds}")
    selection = require_extra("sklearn.model_selection", "train", "Cross-validation")
    require_groups(labels, groups, classes, folds, purpose=f"{folds} folds")
    splitter = selection.StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    for train, test in splitter.split(np.zeros(len(labels)), labels, list(groups)):
        yield np.asarray(train, np.int64), np.asarray(test, np.int64)


def draw_shots(
    labels: Int64Array, groups: Sequence[str], classes: Sequence[str], shots: int, *, seed: int = 0
) -> tuple[Int64Array, Int64Array]:
    """Draw a few patients or videos per class to train on; all others are for testing.

    Args:
        labels: Class of every item, index into ``classes``.
        groups: Patient or video of every item.
        classes: Names of the classes.
        shots: Groups per class.
        seed: Seed of the draw.

    Returns:
        Indices to train on and indices to test on. A drawn group is never tested, even on its clips of other classes.

    Raises:
        InputError: If a class does not have more groups than shots, so that none would be left to test.
    """
    require_groups(labels, groups, classes, shots + 1, purpose=f"{shots} shots and a test")
    names = np.asarray(groups, dtype=str)
    generator = np.random.default_rng(seed)
    drawn: set[str] = set()
    for label in np.unique(labels):
        candidates = np.array(sorted(set(names[labels == label]) - drawn))
        drawn |= set(generator.choice(candidates, min(shots, len(candidates)), replace=False).tolist())
    inside = np.isin(names, sorted(drawn))
    return np.flatnonzero(inside), np.flatnonzero(~inside)


def require_groups(
    labels: Int64Array, groups: Sequence[str], classes: Sequence[str], needed: int, *, purpose: str
) -> None:
    """Raise unless every class that occurs has enough patients or videos.

    Raises:
        InputError: Naming the class and its number of groups.
    """
    names = np.asarray(groups, dtype=str)
    for label in np.unique(labels):
        count = len(np.unique(names[labels == label]))
        if count < needed:
            raise InputError(
                f"class {quoted(classes[int(label)])} has {count} patients or videos, too few for {purpose}; a patient "
                "or video is never split"
            )
