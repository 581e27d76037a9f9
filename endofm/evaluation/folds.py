"""Splits for cross-validation that keep patients and videos whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from endofm.errors import InputError, require_extra

Int64Array = npt.NDArray[np.int64]


def group_folds(
    labels: Int64Array, groups: Sequence[str], folds: int, *, seed: int = 0
) -> Iterator[tuple[Int64Array, Int64Array]]:
    """Yield positions to learn from and positions to test on; every item is tested once, with its whole group.

    Groups are dealt so that every fold has about the same share of each class (``StratifiedGroupKFold`` of
    scikit-learn).

    Args:
        labels: Class of every item.
        groups: Patient or video of every item.
        folds: Number of folds, >= 2.
        seed: Seed of the deal.

    Raises:
        InputError: If a class has fewer groups than there are folds, so that a fold would lack it.
    """
    selection = require_extra("sklearn.model_selection", "train", "Cross-validation")
    require_groups(labels, groups, folds, what=f"{folds} folds")
    splitter = selection.StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    for learn, test in splitter.split(np.zeros(len(labels)), labels, list(groups)):
        yield np.asarray(learn, np.int64), np.asarray(test, np.int64)


def require_groups(labels: Int64Array, groups: Sequence[str], needed: int, *, what: str) -> None:
    """Raise unless every class that occurs is shown by enough patients or videos.

    Raises:
        InputError: Naming the class and its number of groups.
    """
    if needed < 1 or (what.endswith("folds") and needed < 2):
        raise InputError(f"{what} are too few")
    names = np.asarray(groups, dtype=str)
    for label in np.unique(labels):
        count = len(np.unique(names[labels == label]))
        if count < needed:
            raise InputError(
                f"class {label} is shown by {count} patients or videos, too few for {what}, which never tear one apart"
            )
