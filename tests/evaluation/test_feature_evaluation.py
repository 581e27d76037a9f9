"""Evaluation of features: probes find a signal where there is one, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from endofm.errors import InputError
from endofm.evaluation.feature_evaluation import FeatureEvaluation, evaluate_features
from endofm.evaluation.labelled_features import LabelledFeatures
from endofm.evaluation.probes import linear_probe
from helpers.labelled_clips import made_features


@pytest.mark.parametrize("method", ["knn", "linear", "prototypes"])
def test_classes_are_found_where_they_are_and_not_elsewhere(method: str) -> None:
    how = FeatureEvaluation(method=method, folds=3, k=5, resamples=20)  # type: ignore[arg-type]
    good = evaluate_features(made_features(), how=how)
    assert good.metrics["f1"].value > 0.9
    assert len(good.predictions) == 18  # one per video
    # Without a signal the class of a clip can be told only by its video, which is never on both sides.
    chance = evaluate_features(made_features(signal=0.0), how=how)
    assert chance.metrics["accuracy"].value < 0.75
    clips = evaluate_features(made_features(), how=FeatureEvaluation(method=method, unit="clip", folds=3, resamples=0))  # type: ignore[arg-type]
    assert len(clips.predictions) == 72
    assert np.isnan(clips.metrics["f1"].low)


def test_splitting_by_clip_would_have_been_cheating() -> None:
    """What the folds are for: with videos torn apart, noise is classified almost perfectly."""
    noise = made_features(signal=0.0)
    torn = LabelledFeatures(
        embeddings=noise.embeddings,
        labels=noise.labels,
        groups=[str(i) for i in range(len(noise))],
        items=[str(i) for i in range(len(noise))],
        classes=noise.classes,
    )
    how = FeatureEvaluation(method="knn", k=3, folds=3, resamples=0)
    assert evaluate_features(torn, how=how).metrics["accuracy"].value > 0.95
    assert evaluate_features(noise, how=how).metrics["accuracy"].value < 0.7


def test_one_class_cannot_be_learnt_and_one_video_cannot_be_on_both_sides() -> None:
    data = made_features()
    with pytest.raises(InputError, match="only 'a'"):
        linear_probe(data.select(np.flatnonzero(data.labels == 0)), data)
    with pytest.raises(InputError, match="both in the training set and in the test set"):
        evaluate_features(data, data.select([0]))
