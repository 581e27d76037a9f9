"""Scores of probes on cases that are computed by hand."""

from dataclasses import replace

import numpy as np
import pytest

from endofm.bench.frozen import Embedded
from endofm.bench.probe_set import BenchItem, Part, ProbeSet
from endofm.bench.scores import METRICS, score_set
from endofm.bench.suite import ProbeSettings


def make_set(labels: list[int], parts: list[Part], groups: list[str] | None = None) -> ProbeSet:
    names = groups or [str(number) for number in range(len(labels))]
    items = [
        BenchItem(name=str(number), group=group, part=part, files=(), read=lambda: np.zeros((1, 1, 8, 8, 3), np.uint8))
        for number, (group, part) in enumerate(zip(names, parts, strict=True))
    ]
    return ProbeSet(items=items, labels=np.array(labels), classes=("no", "yes"))


def angles(degrees: list[float]) -> np.ndarray:
    radians = np.radians(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], 1).astype(np.float32)


def test_knn_by_hand() -> None:
    # Training items at 0 (no) and 90 degrees (yes). With one neighbour the test items vote no, no, yes, yes.
    data = make_set([0, 1, 0, 1, 0, 1], ["train", "train", "test", "test", "test", "test"])
    rows = angles([0, 90, 10, 30, 60, 80])
    scores, _ = score_set(data, Embedded(rows, None), ProbeSettings(probes=("k-NN",), neighbours=(1,)), resamples=0)
    # Of the four pairs (yes, no) one is right, one is wrong, and two are ties.
    assert scores[0].value == pytest.approx((1 + 0.5 + 0.5 + 0) / 4)
    scores, _ = score_set(data, Embedded(rows, None), ProbeSettings(probes=("k-NN",), neighbours=(2,)), resamples=0)
    # With both as neighbours the vote falls with the angle: 10 no, 30 yes, 60 no, 80 yes.
    assert scores[0].value == pytest.approx(3 / 4)


def test_neighbours_are_chosen_on_validation_and_not_on_the_test() -> None:
    # Three training items of "no" around one of "yes": one neighbour calls validation right, three call the test right.
    degrees, labels = [0.0, 1, 2, 50, 52, 54], [0, 0, 0, 1, 1, 1]
    parts: list[Part] = ["train"] * 6
    degrees += [20.0, 21]
    labels += [1, 0]
    parts += ["train", "train"]
    rows = angles([*degrees, 20, 21, 20, 21])
    data = make_set([*labels, 1, 0, 0, 1], [*parts, "val", "val", "test", "test"])
    how = ProbeSettings(probes=("k-NN",), neighbours=(1, 8))
    (score,), _ = score_set(data, Embedded(rows, None), how, resamples=0)
    assert score.chosen == {"k": [1]}
    # What validation liked is wrong on the test, and stays.
    assert score.value == 0


def test_linear_separates_what_a_line_separates() -> None:
    generator = np.random.default_rng(0)
    labels = [0, 1] * 30
    rows = generator.normal(size=(60, 5)).astype(np.float32)
    rows[:, 2] += 6 * np.array(labels)
    data = make_set(labels, ["train"] * 40 + ["test"] * 20)
    (score,), _ = score_set(data, Embedded(rows, None), ProbeSettings(probes=("linear",)), resamples=50)
    assert score.value > 0.97
    assert len(score.draws) == 50


def test_a_query_finds_the_one_cell_that_matters() -> None:
    generator = np.random.default_rng(0)
    labels = np.array([0, 1] * 60)
    cells = generator.normal(size=(120, 6, 6, 8)).astype(np.float32)
    # The sign of one feature of the one cell that a flag marks is the class; the cell is another one in each item.
    for item, label in enumerate(labels):
        row, column = generator.integers(6, size=2)
        cells[item, row, column, 0] = 8
        cells[item, row, column, 1] = 5 if label else -5
    data = make_set(labels.tolist(), ["train"] * 80 + ["test"] * 40)
    embedded = Embedded(cells.mean((1, 2)), cells)
    how = ProbeSettings(probes=("linear", "attentive"), steps=(300,))
    linear, attentive = score_set(data, embedded, how, resamples=0)[0]
    assert attentive.value > 0.9
    assert attentive.value > linear.value
    assert attentive.chosen == {"steps": [300]}
    # The same seed, the same numbers.
    assert score_set(data, embedded, how, resamples=0)[0][1].value == attentive.value


def test_few_shots_train_on_few_groups_of_the_training_part() -> None:
    labels = [0, 1] * 12
    data = make_set(labels, ["train"] * 12 + ["test"] * 12)
    rows = angles([80.0 * label + index % 5 for index, label in enumerate(labels)])
    (score,), notes = score_set(data, Embedded(rows, None), ProbeSettings(probes=("few-shot",), shots=2), resamples=0)
    assert score.value == 1
    assert not notes
    scores, notes = score_set(data, Embedded(rows, None), ProbeSettings(probes=("few-shot",), shots=9), resamples=0)
    assert not scores
    assert "few-shot: class 'no' has 6" in notes[0]


def test_retrieval_by_hand() -> None:
    data = make_set([0, 0, 1, 1], ["test"] * 4)
    rows = angles([0, 10, 15, 60])
    nearest, area = score_set(data, Embedded(rows, None), ProbeSettings(probes=("retrieval",)), resamples=0)[0]
    # Nearest: 0 -> 10 (same), 10 -> 15 (not), 15 -> 10 (not), 60 -> 15 (same).
    assert nearest.value == 0.5
    # The one of the same class is first, second, last and first of three others.
    assert area.value == pytest.approx((1 + 0.5 + 0 + 1) / 4)


def test_intervals_resample_groups() -> None:
    labels = [0, 1] * 20
    generator = np.random.default_rng(3)
    rows = generator.normal(size=(60, 3)).astype(np.float32)
    rows[:, 0] += [1.5 * (number % 2) for number in range(60)]
    labels = [0, 1] * 30
    alone = make_set(labels, ["train"] * 20 + ["test"] * 40)
    two = [str(number) for number in range(20)] + [f"p{number // 20}" for number in range(40)]
    how = ProbeSettings(probes=("k-NN",), neighbours=(5,))
    (many,), _ = score_set(alone, Embedded(rows, None), how, resamples=200)
    grouped = replace(alone, items=[replace(item, group=g) for item, g in zip(alone.items, two, strict=True)])
    (few,), _ = score_set(grouped, Embedded(rows, None), how, resamples=200)
    assert many.value == few.value
    # Two groups have three different resamples.
    assert len(np.unique(few.draws.round(9))) == 3 < len(np.unique(many.draws.round(9)))


def test_metrics_by_hand() -> None:
    scores = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.3, 0.7]])
    labels = np.array([0, 0, 1, 1])
    assert METRICS["accuracy"](scores, labels) == 0.75
    # No: 1 of 1 called and of 2; yes: 2 of 3 called and of 2.
    assert METRICS["macro-f1"](scores, labels) == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert METRICS["auroc"](scores, labels) == 1
