"""Paired tests, by hand."""

import numpy as np
import pytest

from endofm.bench.paired import Comparison, compare, with_holm
from endofm.evaluation.bootstrap import Interval


def test_a_difference_in_every_resample_is_as_small_as_p_can_be() -> None:
    draws = np.linspace(0.5, 0.9, 99)
    interval, p = compare(0.8, 0.7, draws, draws - 0.1)
    assert p == pytest.approx(2 / 100)
    assert (interval.value, interval.low, interval.high) == pytest.approx((0.1, 0.1, 0.1))


def test_p_counts_resamples_on_the_other_side() -> None:
    differences = np.array([0.1] * 96 + [-0.1] * 3)
    assert compare(0.8, 0.7, differences, np.zeros(99))[1] == pytest.approx(2 * 4 / 100)
    # Equal encoders: every difference is 0, on both sides.
    assert compare(0.8, 0.8, np.full(99, 0.8), np.full(99, 0.8))[1] == 1


def test_without_resamples_there_is_no_p() -> None:
    interval, p = compare(0.8, 0.7, np.empty(0), np.empty(0))
    assert np.isnan([interval.low, p]).all()


def test_holm_by_hand() -> None:
    def made(p: float) -> Comparison:
        nothing = Interval(value=0, low=0, high=0)
        return Comparison(set_name="s", score="k-NN", encoder="e", difference=nothing, p=p)

    found = with_holm([made(p) for p in (0.04, 0.01, float("nan"), 0.03)])
    # In order 0.01 x 3, 0.03 x 2, 0.04 x 1, never falling.
    assert [each.p_holm for each in found] == pytest.approx([0.06, 0.03, float("nan"), 0.06], nan_ok=True)
