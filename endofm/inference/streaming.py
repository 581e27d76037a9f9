"""One pass over a video: frames to clips of one or several plans, clips to batches, prepared ahead in a thread."""

from __future__ import annotations

import atexit
import math
import mmap
import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Hashable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from endofm.transforms.geometry import Box
from endofm.transforms.processor import Processor
from endofm.video.clip_windows import WindowPlan
from endofm.video.frames import Float64Array, Frame, VideoSource

T = TypeVar("T")

_START_SECONDS = 1.0
"""Time that a thread may take to start."""


class SharedFrames:
    """Prepares the frames of one pass over a video for any number of processors; what they share is computed once.

    Results are those of each processor alone, bit for bit. The last frame is kept with what was made of it: its copy on
    a GPU, its resized form for every size and way of resizing, its normalised form for every mean and deviation.
    """

    def __init__(self) -> None:
        self._frame: Frame | None = None
        self._made: dict[Hashable, Any] = {}
        self._boxes: dict[bool, Box | None] = {}

    def find_field_of_view(self, processor: Processor, source: VideoSource) -> Box | None:
        """Return what the processor's ``find_field_of_view_of`` returns; frames are read for it once."""
        key = processor.config.field_of_view
        if key not in self._boxes:
            self._boxes[key] = processor.find_field_of_view_of(source)
        return self._boxes[key]

    def prepare(self, frame: Frame, processor: Processor, box: Box | None, device: torch.device) -> torch.Tensor:
        """Return what the processor's ``prepare_frame`` returns, on a device.

        Args:
            frame: The frame; the same object for every processor that takes it.
            processor: The processor.
            box: Part of the frame to use, the full frame if None.
            device: Device of the result.
        """
        if frame is not self._frame:
            self._frame, self._made = frame, {}
        c = processor.config
        resized = (device, box, c.crop, c.short_side, c.crop_size, c.antialias, c.resample, c.values)
        finished = (*resized, c.channels, c.mean, c.std)

        def resize() -> torch.Tensor:
            return processor.resize_frame(self._on(device, frame), box)

        prepared: torch.Tensor = self._once(finished, lambda: processor.finish_frame(self._once(resized, resize)))
        return prepared

    def _on(self, device: torch.device, frame: Frame) -> Any:
        """Return the frame on a device: as uint8 it is transferred faster than as float32."""
        if device.type != "cuda":
            return frame.picture
        # Pinned memory makes the copy asynchronous: the GPU still computes the batch before.
        return self._once(device, lambda: torch.from_numpy(frame.data).pin_memory().to(device, non_blocking=True))

    def _once(self, key: Hashable, make: Callable[[], Any]) -> Any:
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]


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


@dataclass(frozen=True)
class ClipRequest:
    """Clips that one consumer wants of a video.

    Attributes:
        plan: Times of the frames of each clip.
        prepare: Maps a frame to a tensor ``(channels, height, width)``.
        note: Called with a sentence about a problem of the video.
    """

    plan: WindowPlan
    prepare: Callable[[Frame], Tensor]
    note: Callable[[str], None]


def stream_clips(
    source: VideoSource, requests: Sequence[ClipRequest], until: float | None = None
) -> Generator[tuple[int, Clip], None, None]:
    """Yield the planned clips of every request, each with the number of its request, in order within a request.

    The times of overlapping windows and of all requests are merged into one ascending stream, so that each frame is
    decoded once, and prepared once for a request, however many clips it is part of. Only the prepared frames of the
    windows that are open are held.

    If the video ends before its planned end, the last frame is repeated in the clip that is cut short, and clips
    without any frame are left out.

    Args:
        source: Video to read.
        requests: What to read of it.
        until: Decode as far as this time, in seconds, so that damage before it is noticed as well.
    """
    assemblers = [_Assembler(request) for request in requests]
    last = [] if until is None else [until]
    merged = np.unique(np.concatenate([*(assembler.times for assembler in assemblers), last]))
    for requested, frame in zip(merged.tolist(), source.sample(merged.tolist()), strict=False):
        for index, assembler in enumerate(assemblers):
            for clip in assembler.take(requested, frame):
                yield index, clip
    for index, assembler in enumerate(assemblers):
        for clip in assembler.finish():
            yield index, clip


class _Shown(NamedTuple):
    """Frame on screen at a requested time, and the time at which it ends."""

    requested: float
    seconds: float
    until: float
    pixels: Tensor


class _Assembler:
    """Joins the frames of one request to its clips, as they are decoded."""

    def __init__(self, request: ClipRequest) -> None:
        self._request, self._plan = request, request.plan
        self.times = np.unique(request.plan.frame_times)
        self._taken = self._done = 0
        self._held: deque[_Shown] = deque()

    def take(self, requested: float, frame: Frame) -> Iterator[Clip]:
        """Take the frame on screen at a time if this request asked for it; yield the clips that it completes."""
        if self._taken == len(self.times) or self.times[self._taken] != requested:
            return
        self._taken += 1
        held, seconds = self._held, frame.pts_seconds
        # At a low frame rate, several requested times show the same frame; it is prepared once.
        same = bool(held) and held[-1].seconds == seconds
        pixels = held[-1].pixels if same else self._request.prepare(frame)
        held.append(_Shown(requested, seconds, seconds + frame.duration_seconds, pixels))
        while self._done < len(self._plan) and self._plan.frame_times[self._done, -1] <= requested:
            yield self._assemble(float(self._plan.end_seconds[self._done]))
            self._forget()

    def finish(self) -> Iterator[Clip]:
        """Yield the clips that the end of the video cuts short."""
        plan, held = self._plan, self._held
        if self._done == len(plan):
            return
        end = held[-1].until if held else 0.0
        self._request.note(
            f"frames could be decoded only up to {end:.3f} s; {plan.end_seconds[-1]:.3f} s were expected"
        )
        while self._done < len(plan) and held and plan.frame_times[self._done, 0] <= held[-1].requested:
            yield self._assemble(min(end, float(plan.end_seconds[self._done])))

    def _assemble(self, end: float) -> Clip:
        """Join the frames on screen at the next clip's times; after the last frame, that frame stays."""
        index, self._done = self._done, self._done + 1
        requested = [shown.requested for shown in self._held]
        indices = np.searchsorted(requested, self._plan.frame_times[index], side="right") - 1
        shown = [self._held[index] for index in indices]
        return Clip(
            torch.stack([item.pixels for item in shown], dim=1),
            float(self._plan.start_seconds[index]),
            end,
            np.array([item.seconds for item in shown]),
        )

    def _forget(self) -> None:
        """Drop frames that no later clip needs; the newest stays, because the next time may show the same frame."""
        following, plan, held = self._done, self._plan, self._held
        while len(held) > 1 and (following >= len(plan) or held[0].requested < plan.frame_times[following, 0]):
            held.popleft()


class Batch(NamedTuple):
    """Clips of one request, for one forward pass.

    Attributes:
        request: Number of the request.
        clips: The clips, each with pixels of length 0.
        pixels: Their pixels, float32 ``(batch, channels, time, height, width)``, on the device of the clips.
    """

    request: int
    clips: list[Clip]
    pixels: Tensor


def batch_clips(stream: Iterator[tuple[int, Clip]], batch_sizes: Sequence[int]) -> Generator[Batch, None, None]:
    """Join the clips of each request to batches.

    A clip is released as soon as it is part of a batch, so that one batch of each request and two clips (the last and
    the next) are in memory.

    Args:
        stream: Clips with the number of their request, those of a request of one size.
        batch_sizes: Clips per batch of each request, >= 1.
    """
    clips: list[list[Clip]] = [[] for _ in batch_sizes]
    pixels: list[Tensor | None] = [None for _ in batch_sizes]
    for request, clip in stream:
        batch, joined = pixels[request], clips[request]
        if batch is None:
            batch = pixels[request] = allocate_batch(clip.pixels, batch_sizes[request])
        batch[len(joined)] = clip.pixels
        joined.append(clip._replace(pixels=batch[:0]))
        if len(joined) == batch_sizes[request]:
            clips[request], pixels[request] = [], None
            yield Batch(request, joined, batch)
        # What was handed over is not kept while the next clip is decoded.
        del batch, joined
    for request, (joined, rest) in enumerate(zip(clips, pixels, strict=True)):
        if rest is not None:
            yield Batch(request, joined, rest[: len(joined)])


def allocate_batch(like: Tensor, count: int) -> Tensor:
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
