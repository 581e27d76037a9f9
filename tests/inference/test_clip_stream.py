"""Windows and the one pass over the video: every frame once, every clip exactly its frames."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from endofm.errors import InputError
from endofm.inference.streaming import Clip, stream_clips
from endofm.video.clip_windows import WindowPlan, WindowSettings, plan_windows
from endofm.video.frames import UInt8Array
from helpers.inference_stand_ins import ListSource, regular


def run(source: ListSource, plan: WindowPlan) -> tuple[list[Clip], list[int], list[str]]:
    """Return the clips, the numbers of the frames in the order in which they were prepared, and the notes."""
    prepared: list[int] = []
    notes: list[str] = []

    def prepare(frame: UInt8Array) -> torch.Tensor:
        prepared.append(int(frame[0, 0, 0]))
        return torch.full((3, 1, 1), float(frame[0, 0, 0]))

    return list(stream_clips(source, plan, prepare, notes.append)), prepared, notes


def frames_of(clip: Clip) -> list[int]:
    assert clip.pixels.shape[:1] == (3,)
    return [int(value) for value in clip.pixels[0, :, 0, 0]]


durations = st.lists(st.floats(0.01, 0.6), min_size=1, max_size=60)
settings = st.builds(
    WindowSettings,
    num_frames=st.integers(1, 9),
    window_seconds=st.floats(0.05, 12),
    hop_seconds=st.none() | st.floats(0.05, 12),
) | st.builds(
    WindowSettings,
    num_frames=st.integers(1, 9),
    window_seconds=st.just(5.0),
    frame_stride=st.integers(1, 6),
    hop_frames=st.none() | st.integers(1, 50),
)


@hypothesis_settings(deadline=None)
@given(durations=durations, settings=settings, missing=st.integers(0, 20))
def test_each_frame_once_and_each_clip_its_frames(
    durations: list[float], settings: WindowSettings, missing: int
) -> None:
    edges = np.concatenate([[0], np.cumsum(durations)])
    readable = max(1, len(durations) - missing)
    source = ListSource(edges[:-1], float(edges[-1]), readable=readable)
    plan = plan_windows(source, settings)
    assert len(plan) >= 1
    assert plan.frame_times.shape == (len(plan), settings.num_frames)
    assert (plan.start_seconds < plan.end_seconds).all()
    assert (plan.frame_times.min(1) >= plan.start_seconds).all()
    assert (plan.frame_times.max(1) < plan.end_seconds).all()
    assert plan.end_seconds[-1] <= edges[-1] + 1e-9

    clips, prepared, notes = run(source, plan)
    assert source.asked == sorted(set(source.asked))
    assert prepared == sorted(set(prepared))
    decodable = edges[readable]
    expected = [row for row in plan.frame_times if row[0] < decodable]
    assert len(clips) == len(expected)
    # Past the end the last frame that was asked for stays, not the last one that exists.
    last = max((source.shown_at(t) for t in np.unique(plan.frame_times) if t < decodable), default=0)
    for clip, times, start in zip(clips, expected, plan.start_seconds, strict=False):
        wanted = [source.shown_at(t) if t < decodable else last for t in times]
        assert frames_of(clip) == wanted
        assert clip.frame_seconds.tolist() == [edges[i] for i in wanted]
        assert clip.start_seconds == start
        assert clip.end_seconds > clip.start_seconds
    assert bool(notes) == bool((plan.frame_times >= decodable).any())


def test_windows_in_seconds() -> None:
    plan = plan_windows(regular(100), WindowSettings(num_frames=5, window_seconds=4))
    assert plan.start_seconds.tolist() == [0, 4, 8]
    assert plan.end_seconds.tolist() == [4, 8, 10]
    assert plan.frame_times[0] == pytest.approx([0, 0.975, 1.95, 2.925, 3.9])
    clips, _, notes = run(regular(100), plan)
    assert frames_of(clips[0]) == [0, 9, 19, 29, 39]
    assert frames_of(clips[2]) == [80, 84, 89, 94, 99]
    assert not notes


def test_windows_in_frames() -> None:
    source = ListSource([0, 0.1, 0.5, 0.6, 1.0, 1.1, 1.5, 1.6], 2.0)
    plan = plan_windows(source, WindowSettings(num_frames=2, window_seconds=5, frame_stride=2, hop_frames=2))
    clips, prepared, _ = run(source, plan)
    assert [frames_of(clip) for clip in clips] == [[0, 2], [2, 4], [4, 6]]
    assert prepared == [0, 2, 4, 6]
    assert plan.start_seconds.tolist() == [0, 0.5, 1.0]
    assert plan.end_seconds.tolist() == [1.0, 1.5, 2.0]


def test_a_single_frame_fills_a_clip() -> None:
    source = regular(1)
    for way in (
        WindowSettings(num_frames=4, window_seconds=5),
        WindowSettings(num_frames=4, window_seconds=5, frame_stride=3),
    ):
        clips, prepared, notes = run(source, plan_windows(source, way))
        assert [frames_of(clip) for clip in clips] == [[0, 0, 0, 0]]
        assert prepared == [0]
        assert not notes
        assert (clips[0].start_seconds, clips[0].end_seconds) == (0, 0.1)


def test_a_video_shorter_than_announced() -> None:
    source = regular(100, readable=62)
    plan = plan_windows(source, WindowSettings(num_frames=3, window_seconds=2))
    clips, _, notes = run(source, plan)
    assert [frames_of(clip) for clip in clips] == [[0, 9, 19], [20, 29, 39], [40, 49, 59], [60, 60, 60]]
    assert clips[-1].end_seconds == pytest.approx(6.1)
    assert notes == ["frames could be decoded only up to 6.100 s; 10.000 s were expected"]


def test_few_frames_are_held_at_a_time() -> None:
    source = regular(3000)
    plan = plan_windows(source, WindowSettings(num_frames=4, window_seconds=2, hop_seconds=0.5))
    alive: set[int] = set()
    most = 0

    class Counted(torch.Tensor):
        def __del__(self) -> None:
            alive.discard(id(self))

    def prepare(frame: UInt8Array) -> torch.Tensor:
        nonlocal most
        tensor = torch.zeros(3, 1, 1).as_subclass(Counted)
        alive.add(id(tensor))
        most = max(most, len(alive))
        return tensor

    assert sum(1 for _ in stream_clips(source, plan, prepare, print)) == len(plan) == 597
    assert most <= 22


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"window_seconds": 0}, "window_seconds must be a number of seconds > 0, got 0"),
        ({"window_seconds": math.nan}, "window_seconds"),
        ({"hop_seconds": -1.0}, "hop_seconds"),
        ({"frame_stride": 0}, "frame_stride must be an integer >= 1"),
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
