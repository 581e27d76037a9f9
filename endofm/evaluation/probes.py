"""Classifiers on frozen features: k nearest neighbours, a linear probe, few-shot prototypes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from endofm.errors import InputError, require_extra
from endofm.evaluation.folds import group_folds, require_groups
from endofm.evaluation.knn import knn_probabilities
from endofm.evaluation.labelled import LabelledFeatures

Float64Array = npt.NDArray[np.float64]

STRENGTHS: tuple[float, ...] = (0.001, 0.01, 0.1, 1.0, 10.0)
"""Inverse strengths of the penalty that a linear probe chooses from."""


def knn_probe(
    learn: LabelledFeatures, test: LabelledFeatures, *, k: int = 20, temperature: float = 0.07
) -> Float64Array:
    """Return class probabilities of the test clips by their nearest neighbours among those with known labels.

    Args:
        learn: Clips with known labels.
        test: Clips to classify, with the same classes.
        k: Neighbours that vote.
        temperature: See :func:`~endofm.evaluation.knn.knn_probabilities`.

    Returns:
        float64 ``(num_test_clips, num_classes)``.
    """
    votes = knn_probabilities(
        torch.from_numpy(learn.embeddings),
        torch.from_numpy(learn.labels),
        torch.from_numpy(test.embeddings),
        num_classes=len(learn.classes),
        k=k,
        temperature=temperature,
    )
    return _normalized(votes.double().numpy())


def linear_probe(
    learn: LabelledFeatures,
    test: LabelledFeatures,
    *,
    strengths: Sequence[float] = STRENGTHS,
    balanced: bool = True,
    folds: int = 3,
    seed: int = 0,
) -> Float64Array:
    """Return class probabilities of the test clips by logistic regression on standardised features (scikit-learn).

    Args:
        learn: Clips with known labels.
        test: Clips to classify.
        strengths: Inverse strengths of the L2 penalty; the best by log loss in an inner cross-validation, which keeps
            patients and videos whole, is taken. With one there is nothing to choose.
        balanced: Weight classes by the inverse of their frequency.
        folds: Folds of the inner cross-validation.
        seed: Seed of its deal.

    Returns:
        float64 ``(num_test_clips, num_classes)``; 0 for classes that do not occur in ``learn``.

    Raises:
        InputError: If there is only one class to learn, or too few groups to choose the strength.
    """
    present = np.unique(learn.labels)
    if len(present) < 2:
        raise InputError(
            f"a linear probe needs clips of two classes to learn from, got only {learn.classes[present[0]]!r}"
        )
    chosen = float(strengths[0])
    if len(strengths) > 1:
        metrics = require_extra("sklearn.metrics", "train", "A linear probe")
        losses = np.zeros(len(strengths))
        for inner, held in group_folds(learn.labels, learn.groups, folds, seed=seed):
            for place, strength in enumerate(strengths):
                model = _fit(learn.embeddings[inner], learn.labels[inner], strength, balanced)
                said = model.predict_proba(learn.embeddings[held])
                losses[place] += metrics.log_loss(learn.labels[held], said, labels=model.classes_)
        chosen = float(strengths[int(losses.argmin())])
    model = _fit(learn.embeddings, learn.labels, chosen, balanced)
    probabilities = np.zeros((len(test), len(learn.classes)))
    probabilities[:, model.classes_] = model.predict_proba(test.embeddings)
    return _normalized(probabilities)


def prototype_probe(learn: LabelledFeatures, test: LabelledFeatures, *, temperature: float = 0.1) -> Float64Array:
    """Return class probabilities of the test clips by their cosine similarity to the mean of each class.

    Prototypical networks without their training (arXiv 1703.05175, section 2), with cosine similarity: the prototype of
    a class is the mean over its videos of the mean of their normalised clips.

    Args:
        learn: Clips with known labels.
        test: Clips to classify.
        temperature: Divides the similarities before the softmax.

    Returns:
        float64 ``(num_test_clips, num_classes)``; 0 for classes that do not occur in ``learn``.
    """
    unit, items = _unit(learn.embeddings), np.asarray(learn.items, dtype=str)
    scores = np.full((len(test), len(learn.classes)), -np.inf)
    for label in np.unique(learn.labels):
        own = learn.labels == label
        means = [unit[own & (items == item)].mean(axis=0) for item in np.unique(items[own])]
        prototype = _unit(np.mean(means, axis=0)[None])
        scores[:, label] = (_unit(test.embeddings) @ prototype.T)[:, 0] / temperature
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def draw_shots(
    data: LabelledFeatures, shots: int, *, seed: int = 0
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Draw a few patients or videos per class to learn from; all others are for testing.

    Args:
        data: Labelled clips.
        shots: Groups per class.
        seed: Seed of the draw.

    Returns:
        Positions to learn from and positions to test on. A drawn group is never tested, whatever its clips show.

    Raises:
        InputError: If a class has not more groups than shots, so that nothing would be left to test.
    """
    require_groups(data.labels, data.groups, shots + 1, what=f"{shots} shots and a test")
    names = np.asarray(data.groups, dtype=str)
    generator = np.random.default_rng(seed)
    drawn: set[str] = set()
    for label in np.unique(data.labels):
        own = np.array(sorted(set(names[data.labels == label]) - drawn))
        drawn |= set(generator.choice(own, min(shots, len(own)), replace=False).tolist())
    inside = np.isin(names, sorted(drawn))
    return np.flatnonzero(inside), np.flatnonzero(~inside)


def _fit(embeddings: npt.NDArray[np.float32], labels: npt.NDArray[np.int64], strength: float, balanced: bool) -> Any:
    linear = require_extra("sklearn.linear_model", "train", "A linear probe")
    pipeline = require_extra("sklearn.pipeline", "train", "A linear probe")
    preprocessing = require_extra("sklearn.preprocessing", "train", "A linear probe")
    regression = linear.LogisticRegression(C=strength, max_iter=1000, class_weight="balanced" if balanced else None)
    return pipeline.make_pipeline(preprocessing.StandardScaler(), regression).fit(embeddings, labels)


def _unit(rows: npt.NDArray[Any]) -> Float64Array:
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(length > 0, length, 1), np.float64)


def _normalized(rows: Float64Array) -> Float64Array:
    return np.asarray(rows / rows.sum(axis=1, keepdims=True))
