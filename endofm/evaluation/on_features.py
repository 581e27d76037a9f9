"""Evaluation on saved features: how much of the labels a simple classifier finds in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from endofm.errors import InputError
from endofm.evaluation.folds import group_folds
from endofm.evaluation.labelled import LabelledFeatures
from endofm.evaluation.predictions import Predictions
from endofm.evaluation.probes import draw_shots, knn_probe, linear_probe, prototype_probe
from endofm.evaluation.report import ClassificationReport
from endofm.tasks.classification.config import ClassificationHeadConfig

Method = Literal["knn", "linear", "prototypes"]
Unit = Literal["item", "clip"]


@dataclass(frozen=True, kw_only=True)
class FeatureEvaluation:
    """How features are evaluated.

    Attributes:
        method: ``"knn"``, ``"linear"`` (logistic regression) or ``"prototypes"`` (class means).
        unit: ``"item"`` averages the clips of a labelled video first; ``"clip"`` counts each clip.
        folds: Folds of the cross-validation where there is no test set; patients and videos stay whole.
        shots: Patients or videos per class to learn from instead of all; the rest is the test.
        seed: Seed of folds and shots.
        k: Neighbours of ``"knn"``.
        resamples: Resamples of the bootstrap; 0 for no intervals.
    """

    method: Method = "knn"
    unit: Unit = "item"
    folds: int = 5
    shots: int | None = None
    seed: int = 0
    k: int = 20
    resamples: int = 1000

    def __post_init__(self) -> None:
        for name, choices in (("method", get_args(Method)), ("unit", get_args(Unit))):
            if getattr(self, name) not in choices:
                raise InputError(f"{name} must be one of {', '.join(choices)}, got {getattr(self, name)!r}")
        if self.shots is not None and self.shots < 1:
            raise InputError(f"shots must be at least 1, got {self.shots}")


def evaluate_features(
    data: LabelledFeatures,
    test: LabelledFeatures | None = None,
    *,
    how: FeatureEvaluation | None = None,
    settings: Mapping[str, Any] | None = None,
) -> ClassificationReport:
    """Classify labelled clips by their features alone.

    Args:
        data: Labelled clips: those to learn from if there is a test set, otherwise all of them, which are then
            classified in turns (cross-validation), or by a few drawn ones (shots).
        test: Test set; its patients and videos must not be among those to learn from.
        how: Method and numbers; the defaults are those of :class:`FeatureEvaluation`.
        settings: Further plain values for the report.

    Raises:
        InputError: If a patient or video is in both sets, the classes differ, or there are too few of a class.
    """
    how = how or FeatureEvaluation()
    probe = _probe(how)
    if test is None and how.shots is None:
        probabilities = np.zeros((len(data), len(data.classes)))
        for learn, held in group_folds(data.labels, data.groups, how.folds, seed=how.seed):
            probabilities[held] = probe(data.take(learn), data.take(held))
        test, split = data, f"{how.folds}-fold cross-validation"
    else:
        if test is None:
            drawn, rest = draw_shots(data, how.shots or 0, seed=how.seed)
            data, test = data.take(drawn), data.take(rest)
        elif how.shots is not None:
            data = data.take(draw_shots(data, how.shots, seed=how.seed)[0])
        _require_apart(data, test)
        probabilities = probe(data, test)
        split = "test set" if how.shots is None else f"{how.shots} per class to learn from, the rest to test"
    predictions = Predictions(
        probabilities=probabilities,
        targets=test.labels,
        groups=test.groups,
        head=ClassificationHeadConfig(labels=data.classes),
    )
    if how.unit == "item":
        predictions = predictions.averaged(test.items)
    notes = ["The features come from random weights: this shows what chance gives."] if test.untrained else []
    described = {"method": how.method, "unit": how.unit, "split": split, "seed": how.seed}
    return ClassificationReport.of(
        predictions,
        settings={**described, **({"k": how.k} if how.method == "knn" else {}), **(settings or {})},
        notes=notes,
        resamples=how.resamples,
    )


def _probe(how: FeatureEvaluation) -> Callable[[LabelledFeatures, LabelledFeatures], npt.NDArray[np.float64]]:
    if how.method == "knn":
        return lambda learn, test: knn_probe(learn, test, k=how.k)
    if how.method == "prototypes":
        return prototype_probe
    # With a few shots there is nothing left to choose a penalty on.
    strengths = {"strengths": (1.0,)} if how.shots is not None else {}
    return lambda learn, test: linear_probe(learn, test, seed=how.seed, **strengths)  # type: ignore[arg-type]


def _require_apart(learn: LabelledFeatures, test: LabelledFeatures) -> None:
    if learn.classes != test.classes:
        raise InputError(
            f"the classes to learn ({', '.join(learn.classes)}) are not those of the test ({', '.join(test.classes)}); "
            "name them (classes, or --classes)"
        )
    if learn.embeddings.shape[1] != test.embeddings.shape[1]:
        raise InputError("the features to learn from and those of the test have different widths")
    both = sorted(set(learn.groups) & set(test.groups))
    if both:
        raise InputError(
            f"{len(both)} patients or videos are both to learn from and in the test ({', '.join(both[:3])}); a score "
            "on them would say nothing about new ones"
        )
