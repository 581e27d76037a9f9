"""Linear probe by ridge regression: closed form, so that tens of thousands of patch tokens take seconds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from endofm.errors import InputError
from endofm.evaluation.auroc import macro_auroc
from endofm.evaluation.labelled_features import LabelledFeatures, validation_pairs

Float64Array = npt.NDArray[np.float64]

PENALTIES: tuple[float, ...] = tuple(10.0**power for power in range(-4, 4))
"""Penalties that are chosen from, as multiples of the number of training rows."""


def ridge_probe(
    train: LabelledFeatures,
    test: LabelledFeatures,
    *,
    penalties: Sequence[float] = PENALTIES,
    validation: LabelledFeatures | None = None,
    folds: int = 3,
    seed: int = 0,
) -> Float64Array:
    """Return class scores of the test items by ridge regression on standardised features.

    Targets are 1 for the own class and 0 for others; classes are weighted alike whatever their frequency.

    Args:
        train: Items with known labels.
        test: Items to score.
        penalties: The one with the highest AUROC (macro) on the validation items is used; the test items have no part
            in the choice.
        validation: Items to choose the penalty on; without any, an inner cross-validation that never splits a group.
        folds: Folds of the inner cross-validation.
        seed: Seed of its folds.

    Returns:
        float64 ``(num_test_items, num_classes)``; higher means more likely, not a probability.

    Raises:
        InputError: If there is only one class to train on, or too few groups to choose the penalty.
    """
    if len(np.unique(train.labels)) < 2:
        raise InputError(f"a linear probe needs items of two classes to train on, got {len(train)} of one class")
    selected = penalties[0]
    if len(penalties) > 1:
        values = np.zeros(len(penalties))
        for inner, held in validation_pairs(train, validation, folds=folds, seed=seed):
            scores = _scores(inner, held.embeddings, penalties)
            values += [macro_auroc(of_penalty, held.labels) for of_penalty in scores]
        selected = penalties[int(np.nanargmax(values))]
    return _scores(train, test.embeddings, [selected])[0]


def _scores(
    train: LabelledFeatures, queries: npt.NDArray[np.float32], penalties: Sequence[float]
) -> list[Float64Array]:
    mean, deviation = train.embeddings.mean(axis=0), train.embeddings.std(axis=0)
    scale = 1 / np.where(deviation > 1e-6, deviation, 1)
    rows, asked = ((values - mean) * scale for values in (train.embeddings, queries))
    counts = np.bincount(train.labels, minlength=len(train.classes))
    weight = (len(train) / np.maximum(counts * (counts > 0).sum(), 1))[train.labels]
    targets = (train.labels[:, None] == np.arange(len(train.classes))).astype(np.float64)
    # Weighted regression with an intercept that is not penalised: weighted means are removed from both sides.
    share = weight / weight.sum()
    centre, level = share @ rows, share @ targets
    rows = rows - centre
    gram = (rows * weight[:, None].astype(rows.dtype)).T @ rows
    right = (rows * weight[:, None]).T @ (targets - level)
    # One decomposition serves all penalties.
    size, basis = np.linalg.eigh(gram.astype(np.float64))
    turned, projected = basis.T @ right, (asked - centre) @ basis
    return [projected @ (turned / (size.clip(0) + penalty * len(train))[:, None]) + level for penalty in penalties]
