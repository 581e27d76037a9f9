"""Which frames of a video make which clip."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from endofm.config import PreprocessConfig
from endofm.errors import InputError
from endofm.video.frames import Float64Array, VideoSource
from endofm.video.sampling import clip_times, sliding_indices, sliding_windows


@dataclass(frozen=True, kw_only=True)
class WindowSettings:
    """How windows slide over a video: by seconds, or by source frames when ``frame_stride`` is given.

    Attributes:
        num_frames: Frames per clip.
        window_seconds: Length of a window in seconds.
        hop_seconds: Step between the starts of windows in seconds; None for the window's length.
        frame_stride: Take every n-th source frame, whatever its time; a window is ``num_frames`` of them.
        hop_frames: Step between the starts of those windows in source frames; None for the window's length.
    """

    num_frames: int
    window_seconds: float
    hop_seconds: float | None = None
    frame_stride: int | None = None
    hop_frames: int | None = None

    def __post_init__(self) -> None:
        for name in ("window_seconds", "hop_seconds"):
            seconds = getattr(self, name)
            number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
            if seconds is not None and not (number and math.isfinite(seconds) and seconds > 0):
                raise InputError(f"{name} must be a number of seconds > 0, got {seconds!r}")
        for name in ("num_frames", "frame_stride", "hop_frames"):
            count = getattr(self, name)
            if count is not None and (not isinstance(count, int) or isinstance(count, bool) or count < 1):
                raise InputError(f"{name} must be a whole number >= 1, got {count!r}")
        if self.frame_stride is None and self.hop_frames is not None:
            raise InputError("hop_frames goes with frame_stride; windows in seconds take hop_seconds")
        if self.frame_stride is not None and self.hop_seconds is not None:
            raise InputError("frame_stride counts source frames; give hop_frames instead of hop_seconds")

    @classmethod
    def for_preprocess(
        cls,
        preprocess: PreprocessConfig,
        *,
        window_seconds: float | None = None,
        hop_seconds: float | None = None,
        frame_stride: int | None = None,
        hop_frames: int | None = None,
    ) -> WindowSettings:
        """Return settings in which what is not given is that of the weights' preprocessing.

        Args:
            preprocess: Gives the frames per clip and the default window length.
            window_seconds: Length of a window in seconds.
            hop_seconds: Step between windows in seconds.
            frame_stride: Take every n-th source frame instead of counting seconds.
            hop_frames: Step between such windows in source frames.

        Raises:
            InputError: If an argument is not valid, or two contradict each other.
        """
        if frame_stride is not None and window_seconds is not None:
            raise InputError("give window_seconds or frame_stride, not both: each determines the length of a window")
        return cls(
            num_frames=preprocess.num_frames,
            window_seconds=preprocess.window_seconds if window_seconds is None else window_seconds,
            hop_seconds=hop_seconds,
            frame_stride=frame_stride,
            hop_frames=hop_frames,
        )

    def describe(self) -> dict[str, Any]:
        """Return what was done, with the defaults filled in, as plain values."""
        if self.frame_stride is None:
            hop = self.window_seconds if self.hop_seconds is None else self.hop_seconds
            return {"num_frames": self.num_frames, "window_seconds": self.window_seconds, "hop_seconds": hop}
        hop_frames = self.num_frames * self.frame_stride if self.hop_frames is None else self.hop_frames
        return {"num_frames": self.num_frames, "frame_stride": self.frame_stride, "hop_frames": hop_frames}


@dataclass(frozen=True, eq=False)
class WindowPlan:
    """The clips of one video before it is decoded; all times in seconds after the first frame.

    Attributes:
        start_seconds: Begin of each window, ascending, ``(num_clips,)``.
        end_seconds: End of each window, at most the end of the video, ``(num_clips,)``.
        frame_times: Times at which each clip takes its frames, ascending along both axes,
            ``(num_clips, num_frames)``.
    """

    start_seconds: Float64Array
    end_seconds: Float64Array
    frame_times: Float64Array

    def __len__(self) -> int:
        return len(self.start_seconds)


def plan_windows(source: VideoSource, settings: WindowSettings) -> WindowPlan:
    """Slide windows over a video.

    The rules of the last, shorter window and of the times within a window are those of
    :func:`~endofm.video.sampling.sliding_windows` and :func:`~endofm.video.sampling.clip_times`. A file is read
    through once for the times of its frames, because headers are often wrong; nothing is decoded.

    Args:
        source: Video with at least one frame.
        settings: How windows slide.
    """
    times, end = source.frame_times(), source.end_seconds()
    if settings.frame_stride is not None:
        count, stride = settings.num_frames, settings.frame_stride
        indices = sliding_indices(len(times), count, stride=stride, hop=settings.hop_frames)
        edges = np.append(times, end)
        after = np.minimum(indices[:, 0] + count * stride, len(times))
        return WindowPlan(times[indices[:, 0]], edges[after], times[indices])
    windows = sliding_windows(end, settings.window_seconds, settings.hop_seconds)
    frame_duration = float(np.median(np.diff(times, append=end)))
    return WindowPlan(
        np.array([window.start for window in windows]),
        np.array([window.end for window in windows]),
        np.stack([clip_times(*window, settings.num_frames, frame_duration) for window in windows]),
    )
