"""Moments: peaks of novelty, segments of made and rendered video, key frames."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from endofm import EndoFM, VideoFeatures, demo_video
from endofm.errors import InputError
from endofm.tasks.features.moments import novelty_curve
from helpers.made_features import made_features

SCENE_BORDERS = (3.3, 6.6, 9.9, 13.2, 16.5)
"""Borders of the six scenes of the demo video, seconds: 33 frames each at 10 per second."""


@pytest.fixture(scope="module")
def demo() -> VideoFeatures:
    model = EndoFM.from_pretrained("endofm-nano-4x96")
    return model.extract_features(demo_video(), window_seconds=1, hop_seconds=0.25, progress=False)


def scenes(lengths: Sequence[int], noise: float = 0.5, seed: int = 0, correlation: float = 0.0) -> VideoFeatures:
    """Return features of scenes of some numbers of 5-second clips; noise of neighbours may be correlated."""
    rng = np.random.default_rng(seed)
    rows = np.repeat(rng.standard_normal((len(lengths), 192)), lengths, axis=0)
    error = np.zeros(192)
    for row in rows:
        error = correlation * error + np.sqrt(1 - correlation**2) * rng.standard_normal(192)
        row += noise * error
    starts = 5.0 * np.arange(len(rows))
    return VideoFeatures(rows.astype(np.float32), starts, starts + 5, starts[:, None])


def test_novelty_peaks_where_the_video_changes() -> None:
    unit = np.repeat(np.eye(2), 8, axis=0)
    curve = novelty_curve(unit)
    assert curve.shape == (16,)
    assert int(curve.argmax()) == 8
    assert curve.min() >= 0
    assert len(novelty_curve(np.zeros((0, 2)))) == 0
    np.testing.assert_allclose(novelty_curve(np.ones((5, 1))), 0, atol=1e-12)


def test_novelty_is_the_checkerboard_sum_over_the_similarity_matrix() -> None:
    unit = made_features(12, level="clip").normalized().embeddings.astype(np.float64)
    offsets = np.arange(-4, 4) + 0.5
    taper = np.exp(-0.5 * (offsets / 2) ** 2)
    kernel = np.outer(np.sign(offsets) * taper, np.sign(offsets) * taper)
    similarity = unit @ unit.T
    expected = (kernel * similarity[2:10, 2:10]).sum() / np.abs(kernel).sum()
    np.testing.assert_allclose(novelty_curve(unit)[6], expected, rtol=1e-9)


def test_peaks_are_the_borders_of_scenes() -> None:
    features = scenes([20, 12, 30])
    assert [(peak.clip, peak.seconds) for peak in features.novelty_peaks()] == [(20, 100.0), (32, 160.0)]
    assert [peak.clip for peak in features.novelty_peaks(1)] in ([20], [32])
    assert made_features(1, level="clip").novelty_peaks() == []
    with pytest.raises(InputError, match="n must be an integer"):
        features.novelty_peaks(0)


@pytest.mark.parametrize("correlation", [0.0, 0.5])
@pytest.mark.parametrize("lengths", [(60,), (20, 12, 30), (9, 11, 8, 14, 7, 12, 20, 9), (7, 7, 6)])
def test_segments_are_the_scenes(lengths: tuple[int, ...], correlation: float) -> None:
    features = scenes(lengths, noise=1.0, correlation=correlation)
    segments = features.segments()
    assert [segment.clips.start for segment in segments] == [0, *np.cumsum(lengths)[:-1]]
    assert [segment.start_seconds for segment in segments[1:]] == [segment.end_seconds for segment in segments[:-1]]
    assert (segments[0].start_seconds, segments[-1].end_seconds) == (0.0, features.end_seconds[-1])
    assert sum(len(features[segment.clips]) for segment in segments) == len(features)


def test_the_number_of_segments_can_be_given() -> None:
    features = scenes([20, 12, 30])
    assert [len(features.segments(n)) for n in (1, 2, 5)] == [1, 2, 5]
    assert [segment.clips for segment in features.segments(3)] == [slice(0, 20), slice(20, 32), slice(32, 62)]
    assert len(features[:3].segments(9)) == 1
    assert features[:0].segments() == []
    assert [segment[:2] for segment in features[:1].segments()] == [(0.0, 5.0)]
    with pytest.raises(InputError, match="n must be an integer"):
        features.segments(-1)


def test_segments_of_the_demo_are_its_scenes(demo: VideoFeatures) -> None:
    found = [segment.start_seconds for segment in demo.segments()][1:]
    assert len(found) == len(SCENE_BORDERS)
    # Clips of one second are the resolution; the defocused scene after the bleeding resembles it most.
    np.testing.assert_allclose(found, SCENE_BORDERS, atol=1.0)


def test_key_frames_show_every_scene() -> None:
    features = scenes([40, 5, 25, 3])
    frames = features.key_frames(4)
    borders = np.cumsum([40, 5, 25, 3])
    assert np.searchsorted(borders, [frame.clip for frame in frames], side="right").tolist() == [0, 1, 2, 3]
    assert sum(frame.share for frame in frames) == pytest.approx(1)
    assert frames[0].share == pytest.approx(40 / 73, abs=0.02)
    assert frames == features.key_frames(4)
    assert [frame.seconds for frame in features.key_frames(500)] == (features.start_seconds + 2.5).tolist()
    assert features[:0].key_frames() == []


def test_long_videos_of_dense_windows_are_thinned() -> None:
    features = scenes([2000, 1500])
    assert [segment.clips.start for segment in features.segments(2)] == [0, pytest.approx(2000, abs=3)]
    assert len(features.key_frames(2)) == 2
