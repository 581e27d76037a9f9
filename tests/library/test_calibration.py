"""Calibration: scores that can be read."""

from __future__ import annotations

import numpy as np
import pytest

from endofm.errors import InputError
from endofm.library.calibration import Calibration, unit_rows
from helpers.made_library import recording


def sample(recordings: int, clips: int = 12) -> tuple[np.ndarray, list[int]]:
    rows = np.concatenate([np.asarray(recording(number, clips=clips)) for number in range(recordings)])
    return unit_rows(rows), [number for number in range(recordings) for _ in range(clips)]


def test_unrelated_clips_are_far_apart_only_after_centring() -> None:
    units, of = sample(8)
    assert np.median(units @ units.T) > 0.7
    calibration = Calibration.estimate(units, of, [""] * len(of), total=8)
    centred, lengths = calibration.centred(units)
    assert abs(np.median(centred @ centred.T)) < 0.35
    assert np.allclose(calibration.restored(centred, lengths), units, atol=1e-6)
    # The number beside a score is the fraction of unrelated pairs below it, counted here by hand.
    scores = (centred @ centred.T)[np.array(of)[:, None] != np.array(of)[None]]
    for score in (-0.5, 0.0, 0.5, 0.8):
        assert calibration.rank([score]) == pytest.approx([(scores < score).mean()], abs=0.02)
    edges, density = calibration.density()
    assert (density * np.diff(edges)).sum() == pytest.approx(1, abs=1e-6)
    assert Calibration.from_dict(calibration.to_dict()) == calibration


def test_pairs_of_one_recording_or_patient_are_not_unrelated() -> None:
    units, of = sample(4)
    assert Calibration.estimate(units, [0] * len(of), [""] * len(of), total=1).rank([0.9]) is None
    assert Calibration.estimate(units, of, ["p"] * len(of), total=4).pairs == 0
    every = Calibration.estimate(units, of, [""] * len(of), total=4)
    some = Calibration.estimate(units, of, [("p", "p", "q", "")[number] for number in of], total=4)
    assert 0 < some.pairs < every.pairs
    # Unknown patients may be anyone: pairs of 0 and 1 alone are left out, 2 of 12 ordered pairs of recordings.
    assert some.pairs / every.pairs == pytest.approx(10 / 12, abs=0.02)


def test_no_more_is_claimed_than_was_observed() -> None:
    units, of = sample(6)
    calibration = Calibration.estimate(units, of, [""] * len(of), total=6)
    (rank,) = calibration.rank([1.0]) or ()
    assert rank == 1 - 1 / calibration.pairs


def test_rows_that_have_no_direction() -> None:
    zeros = unit_rows(np.zeros((3, 4)))
    calibration = Calibration.estimate(zeros, [0, 1, 2], ["", "", ""], total=3)
    centred, lengths = calibration.centred(zeros)
    assert not centred.any()
    assert not lengths.any()
    with pytest.raises(InputError, match="finite"):
        unit_rows(np.array([[np.nan, 1.0]]))
