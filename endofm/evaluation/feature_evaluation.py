"""Evaluation of saved features: how well a simple classifier on frozen features predicts the labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from endofm.data.hold_out import require_disjoint
from endofm.errors import InputError, quoted
from endofm.evaluation.bootstrap import BootstrapSettings
from endofm.evaluation.classification_report import ClassificationReport
from endofm.evaluation.folds import draw_shots, group_folds
from endofm.evaluation.labelled_features import LabelledFeatures
from endofm.evaluation.predictions import Predictions
from endofm.evaluation.probes import knn_probe, linear_probe, prototype_probe
from endofm.tasks.classification.config import ClassificationHeadConfig

Method = Literal["knn", "linear", "prototypes"]
Unit = Literal["item", "clip"]


@dataclass(frozen=True, kw_only=True)
class FeatureEvaluation:
    """Settings of an evaluation of features.

    Attributes:
        method: ``"knn"``, ``"linear"`` (logistic regression) or ``"prototypes"`` (class means).
        unit: ``"item"`` averages the clips of a labelled video first; ``"clip"`` counts each clip.
        folds: Folds of the cross-validation where there is no test set; patients and videos are never split.
        shots: Patients or videos per class to train on instead of all; the others are the test set.
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
                raise InputError(f"{name} must be one of {', '.join(choices)}, got {quoted(getattr(self, name))}")
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
        data: Labelled clips. With a test set these are trained on. Without one they are classified in turns
            (cross-validation), or a few drawn ones are trained on and the others tested (shots).
        test: Test set; its patients and videos must not be among those to train on.
        how: Method and numbers; the defaults are those of :class:`FeatureEvaluation`.
        settings: Further plain values for the report.

    Raises:
        InputError: If a patient or video is in both sets, the classes differ, or there are too few of a class.
    """
    how = how or FeatureEvaluation()
    probe = _probe(how)
    if test is None and how.shots is None:
        probabilities = np.zeros((len(data), len(data.classes)))
        for train, held in group_folds(data.labels, data.groups, data.classes, how.folds, seed=how.seed):
            probabilities[held] = probe(data.select(train), data.select(held))
        test, split = data, f"{how.folds}-fold cross-validation"
    else:
        if how.shots is not None:
            drawn, others = draw_shots(data.labels, data.groups, data.classes, how.shots, seed=how.seed)
            data, test = data.select(drawn), data.select(others) if test is None else test
        assert test is not None
        _require_comparable(data, test)
        probabilities = probe(data, test)
        split = "test set" if how.shots is None else f"{how.shots} per class to train on, the others to test"
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
        bootstrap=BootstrapSettings(resamples=how.resamples),
    )


def _probe(how: FeatureEvaluation) -> Callable[[LabelledFeatures, LabelledFeatures], npt.NDArray[np.float64]]:
    if how.method == "knn":
        return lambda train, test: knn_probe(train, test, k=how.k)
    if how.method == "prototypes":
        return prototype_probe
    if how.shots is not None:
        # A few shots leave no groups to choose the strength of the penalty on.
        return lambda train, test: linear_probe(train, test, strengths=(1.0,), seed=how.seed)
    return lambda train, test: linear_probe(train, test, seed=how.seed)


def _require_comparable(train: LabelledFeatures, test: LabelledFeatures) -> None:
    if train.classes != test.classes:
        raise InputError(
            f"the training set has the classes {', '.join(train.classes)}, the test set {', '.join(test.classes)}; "
            "name them (classes, or --classes)"
        )
    if train.embeddings.shape[1] != test.embeddings.shape[1]:
        raise InputError("the features of the training set and of the test set have different widths")
    require_disjoint({"training": train.groups, "test": test.groups})
