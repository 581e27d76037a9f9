"""Clip sampling: the original's indices exactly, and the laws of ours."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from endofm.errors import InputError
from endofm.video.sampling import clip_times, random_indices, sliding_indices, sliding_windows, uniform_indices
from endofm.video.upstream_sampling import upstream_clip

CASES = json.loads((Path(__file__).parents[1] / "golden" / "decoding_indices.json").read_text())["clip"]


@pytest.mark.parametrize("case", CASES, ids=range(len(CASES)))
def test_indices_of_the_original(case: dict) -> None:
    count, tick = case["n"], case["tick"]
    draws = iter(case["uniform_draws"])

    def uniform(low: float, high: float) -> float:
        expected_low, expected_high, value = next(draws)
        assert (low, high) == pytest.approx((expected_low, expected_high))
        return value

    clip = upstream_clip(
        np.arange(count) * tick,
        case["fps"][0] / case["fps"][1],
        duration_pts=count * tick if case["has_duration"] else None,
        clip_idx=case["clip_idx"],
        num_clips=case["num_clips"],
        uniform=uniform,
    )
    assert clip.indices.tolist() == case["indices"]
    kept, first, last = case["decoded_count_first_last"]
    assert (clip.decoded[1] - clip.decoded[0], clip.decoded[0], clip.decoded[1] - 1) == (kept, first, last)
    if case["has_duration"]:
        assert clip.seek_pts == case["seek"][0]


lengths = st.floats(0.1, 500)


@given(duration=lengths, window=lengths, share=st.floats(0.1, 2))
def test_windows_cover_the_video(duration: float, window: float, share: float) -> None:
    hop = max(window * share, duration / 500)
    windows = sliding_windows(duration, window, hop)
    starts = [w.start for w in windows]
    np.testing.assert_allclose(starts, np.arange(len(windows)) * hop)
    assert all(0 <= w.start < w.end <= duration + 1e-9 and w.end - w.start <= window * (1 + 1e-9) for w in windows)
    assert len(windows) == 1 or windows[-1].end - windows[-1].start >= window / 2 * (1 - 1e-5)
    if hop <= window / 2:
        assert windows[-1].end == pytest.approx(duration)


@given(start=st.floats(0, 100), length=st.floats(0.01, 100), frames=st.integers(1, 40), share=st.floats(0, 1))
def test_times_lie_in_their_window(start: float, length: float, frames: int, share: float) -> None:
    times = clip_times(start, start + length, frames, share * length)
    assert len(times) == frames
    assert (np.diff(times) >= 0).all()
    assert times[0] >= start - 1e-9
    assert times[-1] <= start + length + 1e-9


@given(total=st.integers(1, 400), frames=st.integers(1, 32), stride=st.integers(1, 9), seed=st.integers(0, 9))
def test_indices_exist(total: int, frames: int, stride: int, seed: int) -> None:
    for indices in (
        uniform_indices(total, frames)[None],
        sliding_indices(total, frames, stride=stride),
        random_indices(total, frames, np.random.default_rng(seed), stride=stride)[None],
    ):
        assert indices.shape[1] == frames
        assert indices.min() >= 0
        assert indices.max() < total
        assert (np.diff(indices, axis=1) >= 0).all()


def test_wrong_values() -> None:
    with pytest.raises(InputError, match="window_seconds"):
        sliding_windows(10, 0)
    with pytest.raises(InputError, match="start < end"):
        clip_times(3, 3, 8, 0)
    with pytest.raises(InputError, match="num_frames"):
        uniform_indices(10, 0)
