"""Classifiers on frozen features: k nearest neighbours, a linear probe, few-shot prototypes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from endofm.errors import InputError, quoted, require_extra
from endofm.evaluation.folds import group_folds
from endofm.evaluation.knn import knn_probabilities
from endofm.evaluation.labelled_features import LabelledFeatures

Float64Array = npt.NDArray[np.float64]

STRENGTHS: tuple[float, ...] = (0.001, 0.01, 0.1, 1.0, 10.0)
"""Inverse strengths of the L2 penalty that a linear probe chooses from."""


def knn_probe(
    train: LabelledFeatures, test: LabelledFeatures, *, k: int = 20, temperature: float = 0.07
) -> Float64Array:
    """Return class probabilities of the test clips by their nearest neighbours among the training clips.

    Args:
        train: Clips with known labels.
        test: Clips to classify, with the same classes.
        k: Neighbours that vote.
        temperature: See :func:`~endofm.evaluation.knn.knn_probabilities`.

    Returns:
        float64 ``(num_test_clips, num_classes)``.
    """
    votes = knn_probabilities(
        torch.from_numpy(train.embeddings),
        torch.from_numpy(train.labels),
        torch.from_numpy(test.embeddings),
        num_classes=len(train.classes),
        k=k,
        temperature=temperature,
    )
    return _normalized(votes.double().numpy())


def linear_probe(
    train: LabelledFeatures,
    test: LabelledFeatures,
    *,
    strengths: Sequence[float] = STRENGTHS,
    balanced: bool = True,
    folds: int = 3,
    seed: int = 0,
) -> Float64Array:
    """Return class probabilities of the test clips by logistic regression on standardised features (scikit-learn).

    Args:
        train: Clips with known labels.
        test: Clips to classify.
        strengths: Inverse strengths of the L2 penalty. The one with the lowest log loss in an inner cross-validation,
            which never splits a patient or video, is used; a single one is used as given.
        balanced: Weight classes by the inverse of their frequency.
        folds: Folds of the inner cross-validation.
        seed: Seed of its folds.

    Returns:
        float64 ``(num_test_clips, num_classes)``; 0 for classes that do not occur in ``train``.

    Raises:
        InputError: If there is only one class to train on, or too few groups to choose the strength.
    """
    present = np.unique(train.labels)
    if len(present) < 2:
        raise InputError(
            f"a linear probe needs clips of two classes to train on, got only {quoted(train.classes[present[0]])}"
        )
    selected = float(strengths[0])
    if len(strengths) > 1:
        metrics = require_extra("sklearn.metrics", "train", "A linear probe")
        losses = np.zeros(len(strengths))
        for inner, held in group_folds(train.labels, train.groups, train.classes, folds, seed=seed):
            for index, strength in enumerate(strengths):
                model = _fit(train.embeddings[inner], train.labels[inner], strength, balanced)
                predicted = model.predict_proba(train.embeddings[held])
                losses[index] += metrics.log_loss(train.labels[held], predicted, labels=model.classes_)
        selected = float(strengths[int(losses.argmin())])
    model = _fit(train.embeddings, train.labels, selected, balanced)
    probabilities = np.zeros((len(test), len(train.classes)))
    probabilities[:, model.classes_] = model.predict_proba(test.embeddings)
    return _normalized(probabilities)


def prototype_probe(train: LabelledFeatures, test: LabelledFeatures, *, temperature: float = 0.1) -> Float64Array:
    """Return class probabilities of the test clips by their cosine similarity to the mean of each class.

    Prototypical networks without their training (arXiv 1703.05175, section 2), with cosine similarity: the prototype of
    a class is the mean over its videos of the mean of their normalised clips, so that a long video does not outweigh
    the others.

    Args:
        train: Clips with known labels.
        test: Clips to classify.
        temperature: Divides the similarities before the softmax.

    Returns:
        float64 ``(num_test_clips, num_classes)``; 0 for classes that do not occur in ``train``.
    """
    unit, items = _unit(train.embeddings), np.asarray(train.items, dtype=str)
    scores = np.full((len(test), len(train.classes)), -np.inf)
    for label in np.unique(train.labels):
        of_class = train.labels == label
        means = [unit[of_class & (items == item)].mean(axis=0) for item in np.unique(items[of_class])]
        prototype = _unit(np.mean(means, axis=0)[None])
        scores[:, label] = (_unit(test.embeddings) @ prototype.T)[:, 0] / temperature
    # Softmax; subtracting the maximum leaves it unchanged and keeps exp from overflowing. exp(-inf) is 0.
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


# Standardised features, so that the penalty treats all of them alike whatever their scale.
def _fit(embeddings: npt.NDArray[np.float32], labels: npt.NDArray[np.int64], strength: float, balanced: bool) -> Any:
    linear = require_extra("sklearn.linear_model", "train", "A linear probe")
    pipeline = require_extra("sklearn.pipeline", "train", "A linear probe")
    preprocessing = require_extra("sklearn.preprocessing", "train", "A linear probe")
    regression = linear.LogisticRegression(C=strength, max_iter=1000, class_weight="balanced" if balanced else None)
    return pipeline.make_pipeline(preprocessing.StandardScaler(), regression).fit(embeddings, labels)


# A row of zeros stays one: it has no direction.
def _unit(rows: npt.NDArray[Any]) -> Float64Array:
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(length > 0, length, 1), np.float64)


def _normalized(rows: Float64Array) -> Float64Array:
    return np.asarray(rows / rows.sum(axis=1, keepdims=True))
