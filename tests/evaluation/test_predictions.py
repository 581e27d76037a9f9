"""Predictions: thresholds, averages over views, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from endofm.errors import InputError
from endofm.evaluation.predictions import Predictions
from endofm.tasks.classification.config import ClassificationHeadConfig
from helpers.random_predictions import made_predictions


def test_thresholds_decide() -> None:
    two = ClassificationHeadConfig(labels=("normal", "polyp"), thresholds=(0.7, 0.3))
    probabilities = np.array([[0.71, 0.29], [0.69, 0.31], [0.1, 0.9]])
    p = Predictions(probabilities=probabilities, targets=np.array([0, 1, 1]), groups=["a", "b", "c"], head=two)
    assert p.predicted.tolist() == [0, 1, 1]
    several = ClassificationHeadConfig(labels=("a", "b"), multi_label=True, thresholds=(0.2, 0.9))
    p = Predictions(probabilities=probabilities, targets=np.zeros((3, 2)), groups=["a", "b", "c"], head=several)
    assert p.predicted.tolist() == [[1, 0], [1, 0], [0, 1]]


def test_clips_of_a_video_become_one_item() -> None:
    p = made_predictions(2, count=6)
    p = Predictions(
        probabilities=p.probabilities, targets=np.array([1, 1, 0, 0, 1, 1]), groups=list("aabbaa"), head=p.head
    )
    averaged = p.averaged(["x", "x", "y", "y", "x", "z"])
    assert averaged.ids == ("x", "y", "z")
    np.testing.assert_allclose(averaged.probabilities[0], p.probabilities[[0, 1, 4]].mean(0))
    assert averaged.targets.tolist() == [1, 0, 1]
    with pytest.raises(InputError, match="different labels"):
        p.averaged(["x", "x", "x", "y", "y", "y"])


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
