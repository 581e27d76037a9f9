"""Scores, intervals and paired differences of the study on real images, by numbers that are known."""

import numpy as np
import pytest

from studies.real_study.comparison import item_score, paired_difference, score_interval
from studies.real_study.kept_results import ScoredItems

GROUPS = tuple("aabbccdd")
MEANS = ScoredItems(groups=GROUPS)
CLASSES = ScoredItems(groups=GROUPS, positive=(True, False) * 4)


def test_a_score_is_the_mean_of_items_or_the_area_of_probabilities() -> None:
    assert item_score(MEANS, [0, 0, 0, 0, 1, 1, 1, 1]) == 0.5
    assert item_score(CLASSES, [0.9, 0.1] * 4) == 1.0
    # The negative of the last pair is above three of four positives: 13 of 16 pairs are in order.
    assert item_score(CLASSES, [0.5, 0.1, 0.5, 0.1, 0.5, 0.1, 0.9, 0.8]) == pytest.approx(13 / 16)


def test_an_interval_resamples_groups() -> None:
    # Items of a group are equal, and the groups are all equal: nothing varies.
    assert score_interval(MEANS, [0.25, 0.75] * 4, 50).to_dict() == {"value": 0.5, "low": 0.5, "high": 0.5}
    wide = score_interval(MEANS, [0, 0, 0, 0, 1, 1, 1, 1], 400)
    # The mean of four draws of 0 or 1.
    assert (wide.value, wide.low, wide.high) == (0.5, 0.0, 1.0)


def test_a_difference_is_paired() -> None:
    low = np.random.default_rng(0).random(8)
    found = paired_difference({"m": MEANS}, {"m": [low + 0.1, low + 0.3]}, {"m": [low, low]}, 200)
    # Images differ by far more than the arms, and in both alike.
    assert (found.value, found.low, found.high) == pytest.approx((0.2, 0.2, 0.2))
    assert score_interval(MEANS, low.tolist(), 200).high - score_interval(MEANS, low.tolist(), 200).low > 0.1


def test_tasks_that_share_groups_are_resampled_together() -> None:
    gain = np.repeat([0.0, 0.1, 0.2, 0.3], 2)
    tasks = {"first": MEANS, "second": MEANS}
    zero = [np.zeros(8)]
    found = paired_difference(tasks, {"first": [gain], "second": [-gain]}, {"first": zero, "second": zero}, 200)
    # What an image adds to one task it takes from the other.
    assert (found.value, found.low, found.high) == pytest.approx((0, 0, 0), abs=1e-12)
    alone = paired_difference(tasks, {"first": [gain]}, {"first": zero}, 200)
    assert alone.value == pytest.approx(0.15)
    assert alone.high - alone.low > 0.05
