"""Classification metrics against scikit-learn's and the published numbers."""

from __future__ import annotations

import json

import numpy as np
import pytest
import sklearn.metrics as sk

from endofm.evaluation.bootstrap import BootstrapSettings
from endofm.evaluation.classification_metrics import classification_metrics, confusion_matrix, per_class_metrics
from endofm.evaluation.classification_report import ClassificationReport
from endofm.evaluation.predictions import Predictions
from endofm.tasks.classification.config import ClassificationHeadConfig
from helpers import paths
from helpers.random_predictions import made_predictions

GOLDEN = paths.GOLDEN / "classification.npz"


def test_two_classes_are_scored_as_scikit_learn_scores_them() -> None:
    p = made_predictions(2)
    found = classification_metrics(p)
    truth, said, score = p.targets, p.predicted, p.probabilities[:, 1]
    expected = {
        "accuracy": sk.accuracy_score(truth, said),
        "balanced_accuracy": sk.balanced_accuracy_score(truth, said),
        "f1": sk.f1_score(truth, said),
        "precision": sk.precision_score(truth, said),
        "recall": sk.recall_score(truth, said),
        "specificity": sk.recall_score(truth, said, pos_label=0),
        "auroc": sk.roc_auc_score(truth, score),
        "auprc": sk.average_precision_score(truth, score),
    }
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=1e-6), name
    assert confusion_matrix(p) == sk.confusion_matrix(truth, said).tolist()


def test_several_classes_are_averaged_over_those_that_occur() -> None:
    p = made_predictions(4)
    found = classification_metrics(p)
    assert found["f1"] == pytest.approx(sk.f1_score(p.targets, p.predicted, average="macro"), abs=1e-6)
    assert found["auroc"] == pytest.approx(sk.roc_auc_score(p.targets, p.probabilities, multi_class="ovr"), abs=1e-6)
    assert found["balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(p.targets, p.predicted), abs=1e-6)
    without = p.select(np.flatnonzero(p.targets != 3))
    assert classification_metrics(without)["balanced_accuracy"] == pytest.approx(
        np.mean([row["recall"] for label, row in per_class_metrics(without).items() if label != "c3"])
    )


def test_several_labels_may_hold_at_once() -> None:
    p = made_predictions(3, multi_label=True)
    found = classification_metrics(p)
    assert found["f1"] == pytest.approx(sk.f1_score(p.targets, p.predicted, average="macro"), abs=1e-6)
    assert found["auroc"] == pytest.approx(sk.roc_auc_score(p.targets, p.probabilities, average="macro"), abs=1e-6)
    assert np.array(confusion_matrix(p)).shape == (3, 2, 2)
    assert "specificity" not in found


def test_the_published_f1() -> None:
    golden = np.load(GOLDEN)
    predicted = golden["metric/pred"]
    p = Predictions(
        probabilities=np.eye(2)[predicted],
        targets=golden["metric/target"],
        groups=[str(i) for i in range(len(predicted))],
        head=ClassificationHeadConfig(labels=("normal", "polyp")),
    )
    assert classification_metrics(p)["f1"] == pytest.approx(float(golden["metric/f1"]), abs=1e-6)


def test_what_is_not_defined_is_not_a_number() -> None:
    p = made_predictions(2)
    found = classification_metrics(p.select(np.flatnonzero(p.targets == 0)))
    assert np.isnan(found["auroc"])
    assert np.isnan(found["recall"])
    few = BootstrapSettings(resamples=3)
    assert json.dumps(ClassificationReport.of(p.select(np.flatnonzero(p.targets == 0)), bootstrap=few).to_dict())


def test_calibration_error_of_a_calibrated_and_of_a_boastful_classifier() -> None:
    generator = np.random.default_rng(0)
    truth = (generator.random(20000) < 0.8).astype(int)
    head = ClassificationHeadConfig(labels=("no", "yes"))

    def error(confidence: float) -> float:
        probabilities = np.tile([1 - confidence, confidence], (len(truth), 1))
        groups = ["one"] * len(truth)
        return classification_metrics(
            Predictions(probabilities=probabilities, targets=truth, groups=groups, head=head)
        )["calibration_error"]

    assert error(0.8) == pytest.approx(0, abs=0.01)
    assert error(0.99) == pytest.approx(0.19, abs=0.01)
