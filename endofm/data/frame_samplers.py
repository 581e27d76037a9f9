"""Which frames of a clip are read: functions of the times of its frames and a source of random numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from endofm.video.clip_windows import clip_times, random_window, uniform_indices
from endofm.video.frames import Float64Array

FrameSampler = Callable[[Float64Array, float, np.random.Generator], Float64Array]
"""Takes the times of a clip's frames (float64 ``(num_frames,)``, seconds, ascending), the time at which the last one
ends, and a source of random numbers; returns the ascending times at which frames are wanted."""


@dataclass(frozen=True)
class AllFrames:
    """Every frame."""

    def __call__(self, times: Float64Array, end: float, generator: np.random.Generator) -> Float64Array:
        """See :data:`FrameSampler`."""
        return times


@dataclass(frozen=True)
class UniformFrames:
    """A number of frames spread evenly from the first to the last; the same every time.

    Attributes:
        num_frames: Frames per clip; in shorter clips some repeat.
    """

    num_frames: int

    def __call__(self, times: Float64Array, end: float, generator: np.random.Generator) -> Float64Array:
        """See :data:`FrameSampler`."""
        return times[uniform_indices(len(times), self.num_frames)]


@dataclass(frozen=True)
class RandomWindow:
    """A number of frames spread evenly over a window at a random place.

    Attributes:
        num_frames: Frames per clip.
        window_seconds: Length of the window; a shorter clip is taken whole.
    """

    num_frames: int
    window_seconds: float

    def __call__(self, times: Float64Array, end: float, generator: np.random.Generator) -> Float64Array:
        """See :data:`FrameSampler`."""
        first = float(times[0])
        window = random_window(end - first, self.window_seconds, generator)
        step = (end - first) / len(times)
        return clip_times(first + window.start, first + window.end, self.num_frames, step)
