"""From a video to its clips, in one pass."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from endofm.video.clip_windows import WindowPlan
from endofm.video.frames import Float64Array, UInt8Array, VideoSource


class Clip(NamedTuple):
    """One clip with its times.

    Attributes:
        pixels: ``(channels, time, height, width)``.
        start_seconds: Begin of its window.
        end_seconds: End of its window.
        frame_seconds: When the frames that it is made of appear, float64 ``(time,)``.
    """

    pixels: Tensor
    start_seconds: float
    end_seconds: float
    frame_seconds: Float64Array


class _Shown(NamedTuple):
    """What is on screen at an asked time, and the time at which that frame ends."""

    asked: float
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
        plan: Which times make which clip.
        prepare: Turns a frame, uint8 ``(height, width, 3)``, into a tensor ``(channels, height, width)``.
        note: Takes a sentence about what is wrong with the video.
    """
    merged = np.unique(plan.frame_times)
    held: deque[_Shown] = deque()
    done = 0
    frames = source.sample(merged.tolist())
    for asked, frame in zip(merged.tolist(), frames, strict=False):
        same = bool(held) and held[-1].seconds == frame.pts_seconds
        pixels = held[-1].pixels if same else prepare(frame.data)
        held.append(_Shown(asked, frame.pts_seconds, frame.pts_seconds + frame.duration_seconds, pixels))
        while done < len(plan) and plan.frame_times[done, -1] <= asked:
            yield _assemble(plan, done, held, float(plan.end_seconds[done]))
            done += 1
            _forget(plan, done, held)
    if done < len(plan):
        end = held[-1].until if held else 0.0
        note(f"frames could be had only up to {end:.3f} s; {plan.end_seconds[-1]:.3f} s were announced")
    while done < len(plan) and held and plan.frame_times[done, 0] <= held[-1].asked:
        yield _assemble(plan, done, held, min(end, float(plan.end_seconds[done])))
        done += 1


def _assemble(plan: WindowPlan, index: int, held: deque[_Shown], end: float) -> Clip:
    """Join what was on screen at the clip's times; past the last frame, that frame stays."""
    times = plan.frame_times[index]
    asked = [shown.asked for shown in held]
    places = np.searchsorted(asked, times, side="right") - 1
    shown = [held[place] for place in places]
    return Clip(
        torch.stack([item.pixels for item in shown], dim=1),
        float(plan.start_seconds[index]),
        end,
        np.array([item.seconds for item in shown]),
    )


def _forget(plan: WindowPlan, following: int, held: deque[_Shown]) -> None:
    """Drop what no later clip takes; the newest stays, because the next time may show the same frame."""
    while len(held) > 1 and (following >= len(plan) or held[0].asked < plan.frame_times[following, 0]):
        held.popleft()
