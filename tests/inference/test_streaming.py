"""One pass over a video: every frame once, every clip with its frames, in batches, ahead in a thread that ends."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Generator, Iterator
from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from endofm.config import PreprocessConfig
from endofm.inference.streaming import Clip, ClipRequest, SharedFrames, batch_clips, read_ahead, stream_clips
from endofm.transforms.geometry import Box
from endofm.transforms.processor import Processor
from endofm.video.clip_windows import WindowPlan, WindowSettings, plan_windows
from endofm.video.frames import Frame
from helpers.inference_stand_ins import ListSource, regular


def run(source: ListSource, plan: WindowPlan) -> tuple[list[Clip], list[int], list[str]]:
    """Return the clips, the numbers of the frames in the order in which they were prepared, and the notes."""
    prepared: list[int] = []
    notes: list[str] = []

    def prepare(frame: Frame) -> torch.Tensor:
        value = int(frame.data[0, 0, 0])
        prepared.append(value)
        return torch.full((3, 1, 1), float(value))

    stream = stream_clips(source, [ClipRequest(plan, prepare, notes.append)])
    return [clip for _, clip in stream], prepared, notes


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


@hypothesis_settings(deadline=None)
@given(several=st.lists(settings, min_size=2, max_size=4), count=st.integers(1, 80), missing=st.integers(0, 20))
def test_several_requests_are_each_what_they_are_alone(several: list[WindowSettings], count: int, missing: int) -> None:
    readable = max(1, count - missing)
    plans = [plan_windows(regular(count), one) for one in several]
    notes: list[list[str]] = [[] for _ in plans]

    def prepare(frame: Frame) -> torch.Tensor:
        return torch.full((3, 1, 1), float(frame.data[0, 0, 0]))

    source = regular(count, readable=readable)
    found: list[list[Clip]] = [[] for _ in plans]
    requests = [ClipRequest(plan, prepare, own.append) for plan, own in zip(plans, notes, strict=True)]
    for index, clip in stream_clips(source, requests):
        found[index].append(clip)
    assert source.asked == sorted(set(source.asked))
    for plan, clips, own in zip(plans, found, notes, strict=True):
        expected, _, expected_notes = run(regular(count, readable=readable), plan)
        assert [frames_of(clip) for clip in clips] == [frames_of(clip) for clip in expected]
        assert [clip[1:3] for clip in clips] == [clip[1:3] for clip in expected]
        assert own == expected_notes


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

    def prepare(frame: Frame) -> torch.Tensor:
        nonlocal most
        tensor = torch.zeros(3, 1, 1).as_subclass(Counted)
        alive.add(id(tensor))
        most = max(most, len(alive))
        return tensor

    assert sum(1 for _ in stream_clips(source, [ClipRequest(plan, prepare, print)])) == len(plan) == 597
    assert most <= 22


def made_clip(number: int) -> Clip:
    pixels = torch.full((3, 2, 4, 4), float(number)) + torch.arange(4)
    return Clip(pixels, float(number), number + 1.0, np.array([number, number + 0.5]))


@hypothesis_settings(deadline=None)
@given(count=st.integers(0, 9), batch_size=st.integers(1, 5))
def test_batches_are_the_clips_stacked(count: int, batch_size: int) -> None:
    clips = [made_clip(number) for number in range(count)]
    batches = [(part, pixels) for _, part, pixels in batch_clips(((0, clip) for clip in clips), [batch_size])]
    assert [len(part) for part, _ in batches] == [min(batch_size, count - i) for i in range(0, count, batch_size)]
    for i, (part, pixels) in enumerate(batches):
        expected = clips[i * batch_size : i * batch_size + len(part)]
        assert torch.equal(pixels, torch.stack([item.pixels for item in expected]))
        assert [item.start_seconds for item in part] == [item.start_seconds for item in expected]
        assert all(len(item.pixels) == 0 for item in part)


def test_requests_have_batches_of_their_own() -> None:
    stream = [(0, made_clip(0)), (1, made_clip(1)), (1, made_clip(2)), (0, made_clip(3)), (1, made_clip(4))]
    batches = [(b.request, [int(c.start_seconds) for c in b.clips]) for b in batch_clips(iter(stream), [2, 2])]
    assert batches == [(1, [1, 2]), (0, [0, 3]), (1, [4])]


def test_a_clip_is_released_once_it_is_in_its_batch() -> None:
    alive: list[weakref.ref[torch.Tensor]] = []
    most = 0

    def stream() -> Iterator[tuple[int, Clip]]:
        nonlocal most
        for number in range(12):
            made = made_clip(number)
            alive.append(weakref.ref(made.pixels))
            most = max(most, sum(ref() is not None for ref in alive))
            yield 0, made
            del made

    for _, _, pixels in batch_clips(stream(), [4]):
        assert len(pixels) == 4
        del pixels
    gc.collect()
    assert most <= 2
    assert not any(ref() is not None for ref in alive)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_batch_outlives_the_stream(dtype: torch.dtype) -> None:
    clips = [item._replace(pixels=item.pixels.to(dtype)) for item in map(made_clip, range(3))]
    kept = [pixels[1:] for _, _, pixels in batch_clips(((0, clip) for clip in clips), [3])]
    gc.collect()
    assert torch.equal(kept[0], torch.stack([item.pixels for item in clips[1:]]))


CPU = torch.device("cpu")
PLAIN = PreprocessConfig.for_image_size(32)
CONFIGS = (
    PLAIN,
    replace(PLAIN, num_frames=64, window_seconds=2.0),
    replace(PLAIN, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
    replace(PLAIN, channels="bgr"),
    replace(PLAIN, antialias=True),
    replace(PLAIN, antialias=True, resample="bicubic"),
    replace(PLAIN, values="frame"),
    PreprocessConfig.whole_frame(32),
    PreprocessConfig.fitted_frame(64),
)


def pictures(count: int) -> list[Frame]:
    random = np.random.default_rng(0)
    return [Frame(random.integers(0, 256, (48, 70, 3), dtype=np.uint8), time, 1.0) for time in range(count)]


def test_every_processor_gets_its_own_numbers() -> None:
    shared, box = SharedFrames(), Box(4, 6, 44, 60)
    for frame in pictures(3):
        for config in CONFIGS:
            processor = Processor(config)
            for part in (None, box):
                found = shared.prepare(frame, processor, part, CPU)
                assert torch.equal(found, processor.prepare_frame(frame.data, part))


def test_a_frame_is_resized_once_for_each_size() -> None:
    shared = SharedFrames()
    with (
        patch.object(Processor, "resize_frame", autospec=True, side_effect=Processor.resize_frame) as resized,
        patch.object(Processor, "finish_frame", autospec=True, side_effect=Processor.finish_frame) as finished,
    ):
        for frame in pictures(2):
            for config in CONFIGS[:4]:
                shared.prepare(frame, Processor(config), None, CPU)
    # One size; three ways to normalise, because the second configuration differs in its windows alone.
    assert (resized.call_count, finished.call_count) == (2, 6)


_INTERRUPTED = """
import atexit, signal, sys, threading
import torch
from endofm.inference.streaming import read_ahead

method = sys.argv[1]
original = getattr(threading.Thread, method)
strikes = 0


def struck(self, *args):
    # Ctrl-C comes while the thread starts, or, for a second time, while its end is awaited.
    global strikes
    if method == "start":
        original(self, *args)
    strikes += 1
    if strikes == 1:
        raise KeyboardInterrupt
    return None if method == "start" else original(self, *args)


def endless():
    while True:
        yield torch.ones(1, 3, 64, 64).unfold(2, 2, 1).sum()


def readers():
    return [thread for thread in threading.enumerate() if thread.name == "endofm-read-ahead"]


# What is to be done at the end is done backwards: this comes after the thread's own.
atexit.register(lambda: print("left:", len(readers())))
setattr(threading.Thread, method, struck)
try:
    for item in (items := read_ahead(endless(), 1)):
        items.close()
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.parametrize("method", ["start", "join"])
def test_the_thread_ends_before_the_interpreter(method: str) -> None:
    """Otherwise the process may die of SIGABRT, and shells would not report that it was interrupted."""
    command = [sys.executable, "-c", _INTERRUPTED, method]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.split("\n")[:2] == ["interrupted", "left: 0"]


def test_reading_stays_only_a_little_ahead() -> None:
    produced = 0

    def count() -> Generator[int, None, None]:
        nonlocal produced
        for i in range(1000):
            produced += 1
            yield i

    items = read_ahead(count(), 2)
    assert next(items) == 0
    deadline = time.monotonic() + 5
    while produced < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)
    assert produced == 4  # one handed out, two waiting, one waiting for room
    items.close()
    assert list(read_ahead(count(), 2)) == list(range(1000))


def test_the_generator_is_closed_in_its_own_thread() -> None:
    closed_in: list[str] = []

    def endless() -> Generator[int, None, None]:
        try:
            while True:
                yield 1
        finally:
            closed_in.append(threading.current_thread().name)

    items = read_ahead(endless(), 1)
    next(items)
    items.close()
    assert closed_in == ["endofm-read-ahead"]
