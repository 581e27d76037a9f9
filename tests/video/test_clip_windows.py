"""Clip windows: examples, and properties for any length, window and hop."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from endofm.errors import InputError
from endofm.video.clip_windows import (
    WindowSettings,
    clip_times,
    random_indices,
    random_window,
    sliding_indices,
    sliding_windows,
    uniform_indices,
)


def test_windows_of_example_videos() -> None:
    assert sliding_windows(12, 5) == [(0, 5), (5, 10)]
    assert sliding_windows(12, 5, min_tail=0) == [(0, 5), (5, 10), (10, 12)]
    assert sliding_windows(13, 5) == [(0, 5), (5, 10), (10, 13)]
    assert sliding_windows(13, 5, min_tail=1) == [(0, 5), (5, 10)]
    assert sliding_windows(3, 5, min_tail=1) == [(0, 3)]
    assert sliding_windows(10, 5, 2.5) == [(0, 5), (2.5, 7.5), (5, 10)]
    assert sliding_windows(21, 5, 10) == [(0, 5), (10, 15)]
    assert sliding_windows(300 / 30 + 1e-9, 5) == [(0, 5), (5, 10)]


def test_times_and_indices_of_examples() -> None:
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


@given(duration=lengths, window=lengths, fraction=st.floats(0.1, 2))
def test_windows_cover_the_video(duration: float, window: float, fraction: float) -> None:
    hop = max(window * fraction, duration / 500)
    windows = sliding_windows(duration, window, hop)
    starts = [w.start for w in windows]
    np.testing.assert_allclose(starts, np.arange(len(windows)) * hop)
    assert all(0 <= w.start < w.end <= duration + 1e-9 and w.end - w.start <= window * (1 + 1e-9) for w in windows)
    assert len(windows) == 1 or windows[-1].end - windows[-1].start >= window / 2 * (1 - 1e-5)
    if hop <= window / 2:
        assert windows[-1].end == pytest.approx(duration)


@given(start=st.floats(0, 100), length=st.floats(0.01, 100), frames=st.integers(1, 40), fraction=st.floats(0, 1))
def test_times_lie_in_their_window(start: float, length: float, frames: int, fraction: float) -> None:
    times = clip_times(start, start + length, frames, fraction * length)
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


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"window_seconds": 0}, "window_seconds must be a number of seconds from 0.001"),
        ({"window_seconds": math.nan}, "window_seconds"),
        ({"hop_seconds": -1.0}, "hop_seconds"),
        ({"frame_stride": 0}, "frame_stride must be an integer from 1"),
        ({"frame_stride": 1.5}, "frame_stride"),
        ({"hop_frames": 2}, "goes with frame_stride"),
        ({"frame_stride": 2, "hop_seconds": 1.0}, "hop_frames instead"),
    ],
)
def test_settings_that_make_no_sense(values: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        WindowSettings(**{"num_frames": 8, "window_seconds": 5.0, **values})


def test_settings_describe_the_defaults() -> None:
    assert WindowSettings(num_frames=8, window_seconds=5).describe()["hop_seconds"] == 5
    assert WindowSettings(num_frames=8, window_seconds=5, frame_stride=3).describe() == {
        "num_frames": 8,
        "frame_stride": 3,
        "hop_frames": 24,
    }


def test_a_step_that_makes_millions_of_windows_is_refused_at_once() -> None:
    with pytest.raises(InputError, match="gives more than 2,000,000 of them"):
        sliding_windows(3600.0, 1.0, 1e-3)
    assert len(sliding_windows(100.0, 1.0, 0.01)) > 9000
