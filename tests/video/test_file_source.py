"""Every container and codec: correct frames at correct times, by every way of access."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from endofm.video.frames import Frame, VideoSource
from endofm.video.open import open_video
from helpers.video_makers import CLIPS, NUM_FRAMES, read_number

_READ: dict[Path, list[Frame]] = {}


def _all_frames(path: Path) -> list[Frame]:
    if path not in _READ:
        with open_video(path) as video:
            _READ[path] = list(video)
    return _READ[path]


@pytest.mark.parametrize("name", CLIPS)
def test_every_frame_comes_once_in_order(clip: Callable[[str], Path], name: str) -> None:
    with open_video(clip(name)) as video:
        frames = list(video)
        assert video.problems == ()
    assert [read_number(frame.data) for frame in frames] == list(range(NUM_FRAMES))
    width, height = CLIPS[name].get("size", (128, 96))
    assert {frame.data.shape for frame in frames} == {(height, width, 3)}
    assert all(frame.data.dtype == np.uint8 and frame.data.flags.c_contiguous for frame in frames)


@pytest.mark.parametrize("name", CLIPS)
def test_times_from_packets_are_those_of_decoded_frames(clip: Callable[[str], Path], name: str) -> None:
    frames = _all_frames(clip(name))
    with open_video(clip(name)) as video:
        times = video.frame_times()
        end = video.end_seconds()
        metadata = video.metadata
    assert times.dtype == np.float64
    assert times.tolist() == [frame.pts_seconds for frame in frames]
    rate = float(CLIPS[name].get("fps", 25))
    np.testing.assert_allclose(times, np.arange(NUM_FRAMES) / rate, atol=0.0006)  # Matroska and FLV tick in ms.
    assert end == pytest.approx(NUM_FRAMES / rate, abs=0.001)
    assert frames[-1].pts_seconds + frames[-1].duration_seconds == pytest.approx(end, abs=1e-9)
    np.testing.assert_allclose([f.duration_seconds for f in frames[:-1]], np.diff(times), atol=1e-9)
    assert metadata.average_fps == pytest.approx(rate, abs=0.1)
    assert (metadata.width, metadata.height) == CLIPS[name].get("size", (128, 96))
    assert metadata.num_frames in (None, NUM_FRAMES)


def _check_sample(video: VideoSource, seconds: list[float], frames: list[Frame]) -> None:
    starts = np.array([frame.pts_seconds for frame in frames])
    end = frames[-1].pts_seconds + frames[-1].duration_seconds
    expected = [int(np.searchsorted(starts, time + 1e-6, side="right")) - 1 for time in seconds if time < end - 1e-6]
    sampled = list(video.sample(seconds))
    assert [frame.pts_seconds for frame in sampled] == [starts[index] for index in expected]
    for frame, index in zip(sampled, expected, strict=True):
        assert np.array_equal(frame.data, frames[index].data), f"frame {index} differs when it is sampled"


@pytest.mark.parametrize("name", CLIPS)
@pytest.mark.parametrize("scan_first", [False, True])
def test_sampling_gives_the_same_pixels_as_decoding_all(
    clip: Callable[[str], Path], name: str, scan_first: bool
) -> None:
    frames = _all_frames(clip(name))
    with open_video(clip(name)) as video:
        if scan_first:
            video.frame_times()
        for seconds in ([1.95], [0.05, 2.4, 3.1], [2.8, 2.8, 2.81], [0.0], [0.9, 1.0, 3.19, 3.5, 4.0], [9.0]):
            _check_sample(video, seconds, frames)
        assert video.problems == ()


@pytest.mark.parametrize("name", ["h264.mp4", "h264_open_gop.ts", "mpeg2.mpg", "mpeg4.avi", "vp9_odd.webm"])
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seconds=st.lists(st.floats(0, 3.6), max_size=8).map(sorted),
    more=st.lists(st.floats(0, 3.6), max_size=3).map(sorted),
)
def test_any_ascending_times_give_the_frames_on_screen(
    clip: Callable[[str], Path], name: str, seconds: list[float], more: list[float]
) -> None:
    frames = _all_frames(clip(name))
    with open_video(clip(name)) as video:
        _check_sample(video, seconds, frames)
        _check_sample(video, more, frames)


@pytest.mark.parametrize("name", ["h264.mp4", "mpeg2.mpg", "av1.mkv"])
def test_more_decoder_threads_change_nothing(clip: Callable[[str], Path], name: str) -> None:
    frames = _all_frames(clip(name))
    with open_video(clip(name), decoder_threads=3) as video:
        assert [f.pts_seconds for f in video] == [f.pts_seconds for f in frames]
        _check_sample(video, [0.3, 2.5], frames)


def test_jumping_decodes_only_what_is_needed(clip: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight frames of a long video must not cost decoding it all (groups of 20 frames, so about 10 a sample)."""
    from endofm.video import frame_reader

    decoded = 0
    pictures = frame_reader.FrameDecoder.pictures

    def counting(self: frame_reader.FrameDecoder, **options: bool | int) -> object:
        nonlocal decoded
        for picture in pictures(self, **options):  # type: ignore[arg-type]
            decoded += 1
            yield picture

    monkeypatch.setattr(frame_reader.FrameDecoder, "pictures", counting)
    for name in ("h264.mp4", "h264.mkv", "h264.ts", "mpeg2.mpg"):
        decoded = 0
        with open_video(clip(name)) as video:
            assert [read_number(f.data) for f in video.sample([0.0, 3.0])] == [0, 75]
        assert decoded < 40, f"{name}: {decoded} frames were decoded for 2"
