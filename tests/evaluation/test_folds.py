"""Folds and shots never split a patient or video."""

from __future__ import annotations

import pytest

from endofm.errors import InputError
from endofm.evaluation.feature_evaluation import FeatureEvaluation, evaluate_features
from endofm.evaluation.folds import draw_shots, group_folds
from helpers.labelled_clips import made_features


def test_folds_test_every_item_once_and_tear_nothing_apart() -> None:
    data = made_features()
    seen = []
    for learn, test in group_folds(data.labels, data.groups, data.classes, 3, seed=1):
        assert not {data.groups[i] for i in learn} & {data.groups[i] for i in test}
        assert set(data.labels[test]) == {0, 1, 2}
        seen += test.tolist()
    assert sorted(seen) == list(range(len(data)))
    with pytest.raises(InputError, match="class 'a' has 6 patients or videos, too few for 7 folds"):
        list(group_folds(data.labels, data.groups, data.classes, 7))


def test_a_few_videos_can_be_enough() -> None:
    data = made_features()
    learn, test = draw_shots(data.labels, data.groups, data.classes, 2, seed=4)
    assert len({data.groups[i] for i in learn}) == 6
    assert not {data.groups[i] for i in learn} & {data.groups[i] for i in test}
    how = FeatureEvaluation(method="prototypes", shots=2, seed=4, resamples=0)
    assert evaluate_features(data, how=how).metrics["accuracy"].value > 0.8
    with pytest.raises(InputError, match="too few for 6 shots"):
        draw_shots(data.labels, data.groups, data.classes, 6)
