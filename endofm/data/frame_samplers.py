"""Frame samplers: functions of a clip's frame times and a random generator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from endofm.video.clip_windows import clip_times, random_window, uniform_indices
from endofm.video.frames import Float64Array

FrameSampler = Callable[[Float64Array, float, np.random.Generator], Float64Array]
"""Function of a clip's frame times (float64 ``(num_frames,)``, seconds, ascending), the time at which the last frame
ends, and a random generator; returns the ascending times of the frames to read."""


@dataclass(frozen=True)
class AllFrames:
    """Every frame."""

    def __call__(self, times: Float64Array, end: float, generator: np.random.Generator) -> Float64Array:
        """See :data:`FrameSampler`."""
        return times


@dataclass(frozen=True)
class UniformFrames:
    """A fixed number of frames spread evenly from the first to the last; the same in every epoch.

    Attributes:
        num_frames: Frames per clip; shorter clips repeat frames.
    """

    num_frames: int

    def __call__(self, times: Float64Array, end: float, generator: np.random.Generator) -> Float64Array:
        """See :data:`FrameSampler`."""
        return times[uniform_indices(len(times), self.num_frames)]


@dataclass(frozen=True)
class RandomWindow:
    """A fixed number of frames spread evenly over a window at a random position.

    Attributes:
        num_frames: Frames per clip.
        window_seconds: Length of the window; of a shorter clip the window is the full clip.
    """

    num_frames: int
    window_seconds: float

    def __call__(self, times: Float64Array, end: float, generator: np.random.Generator) -> Float64Array:
        """See :data:`FrameSampler`."""
        first = float(times[0])
        window = random_window(end - first, self.window_seconds, generator)
        step = (end - first) / len(times)
        return clip_times(first + window.start, first + window.end, self.num_frames, step)
