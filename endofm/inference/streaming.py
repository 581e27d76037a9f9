"""One pass over a video: frames to clips, clips to batches, prepared ahead in a thread."""

from __future__ import annotations

import atexit
import math
import mmap
import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from endofm.video.clip_windows import WindowPlan
from endofm.video.frames import Float64Array, UInt8Array, VideoSource

T = TypeVar("T")

_START_SECONDS = 1.0
"""Time that a thread may take to start."""


class Clip(NamedTuple):
    """One clip with its times.

    Attributes:
        pixels: ``(channels, time, height, width)``.
        start_seconds: Start of its window.
        end_seconds: End of its window.
        frame_seconds: Times of the source frames in it, float64 ``(time,)``.
    """

    pixels: Tensor
    start_seconds: float
    end_seconds: float
    frame_seconds: Float64Array


class _Shown(NamedTuple):
    """Frame on screen at a requested time, and the time at which it ends."""

    requested: float
    seconds: float
    until: float
    pixels: Tensor


def stream_clips(
    source: VideoSource,
    plan: WindowPlan,
    prepare: Callable[[UInt8Array], Tensor],
    note: Callable[[str], None],
) -> Generator[Clip, None, None]:
    """Yield the planned clips in order.

    The times of overlapping windows are merged into one ascending stream, so that each frame is decoded and prepared
    once, however many clips it is part of. Only the prepared frames of the windows that are open are held.

    If the video ends before its planned end, the last frame is repeated in the clip that is cut short, and clips
    without any frame are left out.

    Args:
        source: Video to read.
        plan: Times of the frames of each clip.
        prepare: Maps a frame, uint8 ``(height, width, 3)``, to a tensor ``(channels, height, width)``.
        note: Called with a sentence about a problem of the video.
    """
    merged = np.unique(plan.frame_times)
    held: deque[_Shown] = deque()
    done = 0
    frames = source.sample(merged.tolist())
    for requested, frame in zip(merged.tolist(), frames, strict=False):
        # At a low frame rate, several requested times show the same frame; it is prepared once.
        same = bool(held) and held[-1].seconds == frame.pts_seconds
        pixels = held[-1].pixels if same else prepare(frame.data)
        held.append(_Shown(requested, frame.pts_seconds, frame.pts_seconds + frame.duration_seconds, pixels))
        while done < len(plan) and plan.frame_times[done, -1] <= requested:
            yield _assemble(plan, done, held, float(plan.end_seconds[done]))
            done += 1
            _forget(plan, done, held)
    if done < len(plan):
        end = held[-1].until if held else 0.0
        note(f"frames could be decoded only up to {end:.3f} s; {plan.end_seconds[-1]:.3f} s were expected")
    while done < len(plan) and held and plan.frame_times[done, 0] <= held[-1].requested:
        yield _assemble(plan, done, held, min(end, float(plan.end_seconds[done])))
        done += 1


def _assemble(plan: WindowPlan, index: int, held: deque[_Shown], end: float) -> Clip:
    """Join the frames on screen at the clip's times; after the last frame, that frame stays."""
    times = plan.frame_times[index]
    requested = [shown.requested for shown in held]
    indices = np.searchsorted(requested, times, side="right") - 1
    shown = [held[index] for index in indices]
    return Clip(
        torch.stack([item.pixels for item in shown], dim=1),
        float(plan.start_seconds[index]),
        end,
        np.array([item.seconds for item in shown]),
    )


def _forget(plan: WindowPlan, following: int, held: deque[_Shown]) -> None:
    """Drop frames that no later clip needs; the newest stays, because the next time may show the same frame."""
    while len(held) > 1 and (following >= len(plan) or held[0].requested < plan.frame_times[following, 0]):
        held.popleft()


def batch_clips(stream: Iterator[Clip], batch_size: int) -> Generator[tuple[list[Clip], Tensor], None, None]:
    """Yield up to ``batch_size`` clips at a time, without their pixels, and those pixels as one tensor.

    A clip is released as soon as it is part of a batch, so that one batch and two clips (the last and the next) are in
    memory.

    Args:
        stream: Clips of one size.
        batch_size: Clips per batch, >= 1.

    Yields:
        The clips, each with pixels of length 0, and float32 ``(batch, channels, time, height, width)``, on the device
        of the clips.
    """
    clips: list[Clip] = []
    pixels: Tensor | None = None
    for clip in stream:
        if pixels is None:
            pixels = _allocate(clip.pixels, batch_size)
        pixels[len(clips)] = clip.pixels
        clips.append(clip._replace(pixels=pixels[:0]))
        if len(clips) == batch_size:
            yield clips, pixels
            clips, pixels = [], None
    if pixels is not None:
        yield clips, pixels[: len(clips)]


def _allocate(like: Tensor, count: int) -> Tensor:
    """Return an uninitialised tensor ``(count, *like.shape)`` of the same type on the same device.

    On the CPU it has its own memory mapping, which returns to the system with the batch. The C library would allocate
    it in its heap, among smaller pieces that outlive it, and leave gaps that are never returned and grow over an hour
    of video.
    """
    shape = (count, *like.shape)
    if like.device.type != "cpu":
        return like.new_empty(shape)
    # Unmapped when the last view of it is released.
    memory = mmap.mmap(-1, math.prod(shape) * like.element_size())
    return torch.frombuffer(memory, dtype=like.dtype).view(shape)


def read_ahead(items: Generator[T, None, None], depth: int) -> Generator[T, None, None]:
    """Run a generator in another thread, at most ``depth`` items ahead of the consumer.

    Any exception of the generator is raised here, unchanged. When the consumer stops early (``close``, an exception,
    Ctrl-C), the generator is closed after its current step, and the thread has ended when control returns; if a second
    Ctrl-C prevents that, it has ended before the interpreter exits.

    Args:
        items: Generator to run; only the thread uses it.
        depth: Finished items that may wait for the consumer, >= 1.
    """
    done: queue.SimpleQueue[tuple[T | None, BaseException | None, bool]] = queue.SimpleQueue()
    slots = threading.Semaphore(depth)
    stop, ended = threading.Event(), threading.Event()

    def work() -> None:
        failure: BaseException | None = None
        try:
            with closing(items):
                for item in items:
                    slots.acquire()
                    if stop.is_set():
                        break
                    done.put((item, None, False))
        except BaseException as error:
            # KeyboardInterrupt and SystemExit, too: they are raised in the consumer, not printed by the thread.
            failure = error
        done.put((None, failure, True))
        ended.set()

    thread = threading.Thread(target=work, name="endofm-read-ahead", daemon=True)

    def end() -> None:
        stop.set()
        slots.release()
        if thread.is_alive():
            thread.join()
        else:
            # After Ctrl-C inside start(), the thread may or may not still come up.
            ended.wait(_START_SECONDS)

    # A thread that is inside PyTorch while the interpreter exits aborts the process (SIGABRT).
    atexit.register(end)
    try:
        thread.start()
        while True:
            item, failure, last = done.get()
            if failure is not None:
                raise failure
            if last:
                return
            slots.release()
            yield item  # type: ignore[misc]
    finally:
        end()
        atexit.unregister(end)
