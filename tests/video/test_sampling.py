"""Clip sampling: the original's indices exactly, and the laws of ours."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from endofm.errors import InputError
from endofm.video.clip_windows import (
    clip_times,
    random_indices,
    random_window,
    sliding_indices,
    sliding_windows,
    uniform_indices,
)
from endofm.video.published_sampling import pick_indices, published_clip
from helpers import paths

CASES = json.loads((paths.GOLDEN / "decoding_indices.json").read_text())["clip"]


@pytest.mark.parametrize("case", CASES, ids=range(len(CASES)))
def test_indices_of_the_original(case: dict) -> None:
    count, tick = case["n"], case["tick"]
    draws = iter(case["uniform_draws"])

    def uniform(low: float, high: float) -> float:
        expected_low, expected_high, value = next(draws)
        assert (low, high) == pytest.approx((expected_low, expected_high))
        return value

    clip = published_clip(
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


@given(start=st.floats(0, 5000), span=st.floats(0, 900), frames=st.integers(1, 40))
def test_the_last_bit_is_that_of_torch(start: float, span: float, frames: int) -> None:
    expected = torch.linspace(start, start + span, frames).clamp(0, 4000).long()
    assert pick_indices(start, start + span, frames, 4001).tolist() == expected.tolist()


def test_frames_of_upstream_evaluation_in_words() -> None:
    """classification.md: 30 fps videos that are long enough, and two that are too short."""
    expected = {
        900: [0, 36, 72, 109, 145, 182, 218, 255],
        150: [0, 36, 72, 109, 145, 149, 149, 149],
        40: [0, 36, 39, 39, 39, 39, 39, 39],
    }
    for total, indices in expected.items():
        clip = published_clip(np.arange(total) * 512, 30.0, duration_pts=total * 512)
        assert clip.indices.tolist() == indices


def test_windows_of_a_video_by_hand() -> None:
    assert sliding_windows(12, 5) == [(0, 5), (5, 10)]
    assert sliding_windows(12, 5, min_tail=0) == [(0, 5), (5, 10), (10, 12)]
    assert sliding_windows(13, 5) == [(0, 5), (5, 10), (10, 13)]
    assert sliding_windows(13, 5, min_tail=1) == [(0, 5), (5, 10)]
    assert sliding_windows(3, 5, min_tail=1) == [(0, 3)]
    assert sliding_windows(10, 5, 2.5) == [(0, 5), (2.5, 7.5), (5, 10)]
    assert sliding_windows(21, 5, 10) == [(0, 5), (10, 15)]
    assert sliding_windows(300 / 30 + 1e-9, 5) == [(0, 5), (5, 10)]


def test_times_and_indices_by_hand() -> None:
    np.testing.assert_allclose(clip_times(2, 7, 6, 0.5), [2, 2.9, 3.8, 4.7, 5.6, 6.5])
    np.testing.assert_allclose(clip_times(2, 2.1, 3, 0.5), [2, 2, 2])
    np.testing.assert_allclose(clip_times(2, 7, 1, 0), [4.5])
    assert uniform_indices(150, 8).tolist() == [0, 21, 43, 64, 85, 106, 128, 149]
    assert uniform_indices(3, 5).tolist() == [0, 1, 1, 2, 2]
    assert sliding_indices(20, 4, stride=2).tolist() == [[0, 2, 4, 6], [8, 10, 12, 14], [16, 17, 18, 19]]
    assert sliding_indices(9, 4, stride=2, hop=1).tolist() == [[0, 2, 4, 6], [1, 3, 5, 7]]


@given(duration=st.floats(0.1, 500), window=st.floats(0.1, 500), seed=st.integers(0, 99))
def test_random_windows_lie_in_the_video(duration: float, window: float, seed: int) -> None:
    start, end = random_window(duration, window, np.random.default_rng(seed))
    assert 0 <= start < end <= duration * (1 + 1e-12)
    assert end - start == pytest.approx(min(window, duration))


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
    with pytest.raises(InputError, match="needs the argument uniform"):
        published_clip([0, 1], 30, duration_pts=2, clip_idx=-1)
    with pytest.raises(InputError, match="at least one frame"):
        published_clip([], 30, duration_pts=None)
    with pytest.raises(InputError, match="num_clips"):
        published_clip([0, 1], 30, duration_pts=2, clip_idx=1)
