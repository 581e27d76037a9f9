"""Metrics beside scikit-learn's and the original's numbers, and intervals beside what they must cover."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import sklearn.metrics as sk
from hypothesis import given, settings
from hypothesis import strategies as st

from endofm.errors import InputError
from endofm.evaluation.bootstrap import BootstrapSettings, bootstrap
from endofm.evaluation.classification_metrics import classification_metrics, confusion_matrix, per_class_metrics
from endofm.evaluation.classification_report import ClassificationReport
from endofm.evaluation.predictions import Predictions
from endofm.evaluation.report import over_seeds
from endofm.tasks.classification.config import ClassificationHeadConfig
from helpers import paths

GOLDEN = paths.GOLDEN / "classification.npz"


def made(classes: int, *, seed: int = 0, count: int = 60, multi_label: bool = False) -> Predictions:
    """Return predictions that are better than chance; five items per video."""
    generator = np.random.default_rng(seed)
    head = ClassificationHeadConfig(labels=tuple(f"c{i}" for i in range(classes)), multi_label=multi_label)
    groups = [f"video {i // 5}" for i in range(count)]
    if multi_label:
        targets = generator.integers(0, 2, (count, classes))
        probabilities = np.clip(0.5 + 0.3 * (targets - 0.5) + 0.3 * generator.standard_normal(targets.shape), 0, 1)
    else:
        targets = generator.integers(0, classes, count)
        scores = generator.standard_normal((count, classes)) + 1.5 * np.eye(classes)[targets]
        probabilities = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    return Predictions(probabilities=probabilities, targets=targets, groups=groups, head=head)


def test_two_classes_are_scored_as_scikit_learn_scores_them() -> None:
    p = made(2)
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
    p = made(4)
    found = classification_metrics(p)
    assert found["f1"] == pytest.approx(sk.f1_score(p.targets, p.predicted, average="macro"), abs=1e-6)
    assert found["auroc"] == pytest.approx(sk.roc_auc_score(p.targets, p.probabilities, multi_class="ovr"), abs=1e-6)
    assert found["balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(p.targets, p.predicted), abs=1e-6)
    without = p.select(np.flatnonzero(p.targets != 3))
    assert classification_metrics(without)["balanced_accuracy"] == pytest.approx(
        np.mean([row["recall"] for label, row in per_class_metrics(without).items() if label != "c3"])
    )


def test_several_labels_may_hold_at_once() -> None:
    p = made(3, multi_label=True)
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
    p = made(2)
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


def test_thresholds_decide() -> None:
    two = ClassificationHeadConfig(labels=("normal", "polyp"), thresholds=(0.7, 0.3))
    probabilities = np.array([[0.71, 0.29], [0.69, 0.31], [0.1, 0.9]])
    p = Predictions(probabilities=probabilities, targets=np.array([0, 1, 1]), groups=["a", "b", "c"], head=two)
    assert p.predicted.tolist() == [0, 1, 1]
    several = ClassificationHeadConfig(labels=("a", "b"), multi_label=True, thresholds=(0.2, 0.9))
    p = Predictions(probabilities=probabilities, targets=np.zeros((3, 2)), groups=["a", "b", "c"], head=several)
    assert p.predicted.tolist() == [[1, 0], [1, 0], [0, 1]]


def test_clips_of_a_video_become_one_item() -> None:
    p = made(2, count=6)
    p = Predictions(
        probabilities=p.probabilities, targets=np.array([1, 1, 0, 0, 1, 1]), groups=list("aabbaa"), head=p.head
    )
    averaged = p.averaged(["x", "x", "y", "y", "x", "z"])
    assert averaged.ids == ("x", "y", "z")
    np.testing.assert_allclose(averaged.probabilities[0], p.probabilities[[0, 1, 4]].mean(0))
    assert averaged.targets.tolist() == [1, 0, 1]
    with pytest.raises(InputError, match="different labels"):
        p.averaged(["x", "x", "x", "y", "y", "y"])


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=2, max_size=40), st.integers(0, 1000))
def test_the_bootstrap_draws_whole_groups(members: list[int], seed: int) -> None:
    sizes = np.bincount(members)

    def count(places: np.ndarray) -> dict[str, float]:
        drawn = np.bincount(np.asarray(members)[places], minlength=len(sizes))
        assert all(drawn[g] % sizes[g] == 0 for g in np.unique(members))
        assert sum(drawn[g] // sizes[g] for g in np.unique(members)) == len(np.unique(members))
        return {"items": float(len(places))}

    found = bootstrap(count, [str(m) for m in members], BootstrapSettings(resamples=5, seed=seed))
    assert found["items"].value == len(members)


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    covered = 0
    for _ in range(100):
        effects = np.repeat(generator.standard_normal(40), 5)
        values = effects + 0.1 * generator.standard_normal(200)
        groups = [str(i // 5) for i in range(200)]
        interval = bootstrap(
            lambda p, v=values: {"mean": float(v[p].mean())}, groups, BootstrapSettings(resamples=200)
        )["mean"]
        covered += interval.low <= 0 <= interval.high
    # Resampling single items instead of groups would cover in about half of the cases.
    assert 85 <= covered <= 99


def test_intervals_do_not_depend_on_chance() -> None:
    p = made(2)
    first, second = (
        ClassificationReport.of(p, bootstrap=BootstrapSettings(resamples=20, seed=3)).to_dict() for _ in range(2)
    )
    assert first == second
    assert "intervals rest on 12" in " ".join(first["notes"])


def test_a_report_is_written_whole(tmp_path: Path) -> None:
    for p, name in ((made(2), "two"), (made(3), "three"), (made(3, multi_label=True), "several")):
        report = ClassificationReport.of(p, bootstrap=BootstrapSettings(resamples=5), settings={"seed": 1})
        report.save(tmp_path / name)
        assert {f.name for f in (tmp_path / name).iterdir()} == {
            "report.json", "predictions.csv", "roc.png", "confusion.png"
        }  # fmt: skip
        values = json.loads((tmp_path / name / "report.json").read_text())
        assert values["metrics"]["f1"]["low"] <= values["metrics"]["f1"]["value"] <= values["metrics"]["f1"]["high"]
        assert "medical advice" in values["notes"][-1]
        assert len((tmp_path / name / "predictions.csv").read_text().splitlines()) == len(p) + 1
        assert "f1" in report.summary()


def test_mean_and_deviation_over_seeds() -> None:
    reports = [{"metrics": {"f1": {"value": v}, "auroc": {"value": a}}} for v, a in ((0.8, 0.9), (0.9, None))]
    table = over_seeds(reports)
    assert set(table) == {"f1"}
    assert table["f1"]["mean"] == pytest.approx(0.85)
    assert table["f1"]["sd"] == pytest.approx(np.std([0.8, 0.9], ddof=1))
    assert over_seeds(reports[:1])["f1"]["sd"] is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"probabilities": np.zeros((3, 3))}, r"expected probabilities \(3, 2\)"),
        ({"probabilities": np.full((3, 2), np.nan)}, "numbers in"),
        ({"targets": np.array([0, 1, 2])}, r"0\.\.1"),
        ({"groups": ["a"]}, "as many groups"),
    ],
)
def test_predictions_that_cannot_be_are_refused(changes: dict[str, object], message: str) -> None:
    values: dict[str, object] = {
        "probabilities": np.full((3, 2), 0.5),
        "targets": np.array([0, 1, 0]),
        "groups": ["a", "b", "c"],
        "head": ClassificationHeadConfig(labels=("no", "yes")),
    }
    with pytest.raises(InputError, match=message):
        Predictions(**{**values, **changes})  # type: ignore[arg-type]
