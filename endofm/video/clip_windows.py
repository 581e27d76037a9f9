"""Clip windows: where clips start and end in a video, and the frames that each takes.

Results are *times* (seconds after the first frame, for :meth:`VideoSource.sample`) or *indices* (positions in a list of
frames). All functions but :func:`plan_windows` are pure functions of counts and times and read nothing. The rule of the
published code is in :mod:`endofm.video.published_sampling`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from endofm.arguments import integer_argument, number_argument
from endofm.config import PreprocessConfig
from endofm.errors import InputError
from endofm.video.frames import Float64Array, VideoSource

Int64Array = npt.NDArray[np.int64]

MIN_TAIL = 0.5
"""Smallest fraction of a full window at which a last, shorter window is kept."""

MAX_WINDOWS = 2_000_000
"""Most windows of one video: 55 hours in steps of a tenth of a second."""

MIN_SECONDS, MAX_SECONDS = 1e-3, 1e7
"""Limits on the length of a window and the step between windows: a millisecond, 115 days."""

MAX_FRAMES = 1_000_000
"""Limit on frames per clip, stride and step between windows in frames."""

_ROUNDING = 1e-6
"""Fraction of a window by which times may differ through rounding and still count as equal."""


class Window(NamedTuple):
    """A time interval ``[start, end)``, in seconds after the first frame."""

    start: float
    end: float


def _require_positive(**values: float) -> None:
    for name, value in values.items():
        if not (isinstance(value, (int, float, np.number)) and math.isfinite(value) and value > 0):
            raise InputError(f"{name} must be a number > 0, got {value!r}")


def _require_counts(**values: int) -> None:
    for name, value in values.items():
        if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < 1:
            raise InputError(f"{name} must be an integer >= 1, got {value!r}")


def _require_fraction(min_tail: float) -> None:
    if not 0 <= min_tail <= 1:
        raise InputError(f"min_tail is a fraction of a window between 0 and 1, got {min_tail!r}")


def sliding_windows(
    duration_seconds: float, window_seconds: float, hop_seconds: float | None = None, *, min_tail: float = MIN_TAIL
) -> list[Window]:
    """Return the windows that slide over a video, in order of time.

    Windows start at 0, ``hop_seconds``, 2 ``hop_seconds``, ... and the list ends with the first one that reaches the
    end of the video. If that last one is cut short by the end, it is kept when at least ``min_tail`` of a window is
    left of it, or when it is the only one; :func:`clip_times` then spreads its frames over the part that exists.
    A video shorter than a window therefore gives one window, and with the default ``min_tail`` and a hop of at most
    half a window, no part of a video is left out.

    Args:
        duration_seconds: Length of the video, the end of its last frame.
        window_seconds: Length of a window.
        hop_seconds: Step from the start of one window to the start of the next; ``window_seconds`` if None.
        min_tail: 0 keeps any last window, 1 only full ones.

    Returns:
        At least one window.

    Raises:
        InputError: If a length is not a positive number, or there would be more than ``MAX_WINDOWS``.
    """
    hop_seconds = window_seconds if hop_seconds is None else hop_seconds
    _require_positive(duration_seconds=duration_seconds, window_seconds=window_seconds, hop_seconds=hop_seconds)
    _require_fraction(min_tail)
    # Checked before the list is built, so that a hop of a microsecond is a message and not hours of work.
    if duration_seconds / hop_seconds > MAX_WINDOWS:
        raise InputError(
            f"a step of {hop_seconds:g} between windows gives more than {MAX_WINDOWS:,} of them over a length of "
            f"{duration_seconds:g}; choose a longer step"
        )
    # Rounding may make the remainder a little longer than a window; without slack, an empty window would follow.
    slack = _ROUNDING * window_seconds
    shortest = max(min_tail * window_seconds, 2 * slack) - slack
    windows: list[Window] = []
    while True:
        start = len(windows) * hop_seconds
        remaining = duration_seconds - start
        if windows and remaining < shortest:
            return windows
        windows.append(Window(float(start), float(min(start + window_seconds, duration_seconds))))
        if remaining <= window_seconds + slack:
            return windows


def clip_times(start: float, end: float, num_frames: int, frame_duration: float) -> Float64Array:
    """Return the times of a clip's frames, spread evenly over a window.

    The first is ``start``, the last the beginning of the window's last frame, as in the global views of pre-training. A
    clip of one frame takes the middle of that span.

    Args:
        start: Start of the window, seconds.
        end: End of the window, seconds.
        num_frames: Frames per clip.
        frame_duration: Duration of one frame of the source, seconds; 0 if unknown.

    Returns:
        float64 ``(num_frames,)``, ascending, within ``[start, end)``; all equal to ``start`` if the window holds no
        more than one frame.

    Raises:
        InputError: If the window is empty or a value is not valid.
    """
    _require_counts(num_frames=num_frames)
    if not (math.isfinite(start) and math.isfinite(end) and start < end):
        raise InputError(f"a window needs start < end, got {start!r} and {end!r}")
    if not (math.isfinite(frame_duration) and frame_duration >= 0):
        raise InputError(f"frame_duration must be >= 0 seconds, got {frame_duration!r}")
    # The last frame of the window begins one frame duration before its end.
    last = max(end - frame_duration, start)
    if num_frames == 1:
        return np.array([(start + last) / 2])
    return np.linspace(start, last, num_frames)


def uniform_indices(total_frames: int, num_frames: int) -> Int64Array:
    """Return ``num_frames`` indices spread evenly from the first to the last of ``total_frames`` frames.

    If there are fewer frames than requested, neighbours repeat, in order. One index is the middle frame.

    Returns:
        int64 ``(num_frames,)``, ascending.

    Raises:
        InputError: If a count is smaller than 1.
    """
    _require_counts(total_frames=total_frames, num_frames=num_frames)
    if num_frames == 1:
        return np.array([(total_frames - 1) // 2])
    # Integer arithmetic, rounding half up: identical on every machine, unlike a rounded linspace.
    steps = 2 * (num_frames - 1)
    return (2 * np.arange(num_frames) * (total_frames - 1) + num_frames - 1) // steps


def sliding_indices(
    total_frames: int,
    num_frames: int,
    *,
    stride: int = 1,
    hop: int | None = None,
    min_tail: float = MIN_TAIL,
) -> Int64Array:
    """Return the frame indices of clips that slide over a video.

    Each clip holds every ``stride``-th frame; the next begins ``hop`` frames later. The last clip follows the rule of
    :func:`sliding_windows`; if it is cut short, its indices are spread over the frames that exist.

    Args:
        total_frames: Frames of the video.
        num_frames: Frames per clip.
        stride: Step from one frame of a clip to the next, in source frames.
        hop: Step from one clip to the next, in source frames. The default is the span of a clip, ``num_frames *
            stride``: adjacent clips without gap or overlap.
        min_tail: 0 keeps any last clip, 1 only full ones.

    Returns:
        int64 ``(num_clips, num_frames)`` with at least one clip.

    Raises:
        InputError: If a count is smaller than 1.
    """
    _require_counts(total_frames=total_frames, num_frames=num_frames, stride=stride)
    span = num_frames * stride
    hop = span if hop is None else hop
    _require_counts(hop=hop)
    # Windows over a time line on which every frame lasts one second.
    windows = sliding_windows(total_frames, span, hop, min_tail=min_tail)
    full = np.arange(num_frames) * stride
    clips = []
    for start, end in windows:
        first, length = round(start), round(end - start)
        clips.append(first + (full if length == span else uniform_indices(length, num_frames)))
    return np.stack(clips)


def random_window(duration_seconds: float, window_seconds: float, generator: np.random.Generator) -> Window:
    """Return a window at a random position, for training; the whole video if it is shorter than a window.

    Args:
        duration_seconds: Length of the video.
        window_seconds: Length of the window.
        generator: Source of one random number.

    Raises:
        InputError: If a length is not a positive number.
    """
    _require_positive(duration_seconds=duration_seconds, window_seconds=window_seconds)
    room = max(duration_seconds - window_seconds, 0.0)
    start = float(generator.uniform(0.0, room))
    return Window(start, start + min(window_seconds, duration_seconds))


def random_indices(
    total_frames: int, num_frames: int, generator: np.random.Generator, *, stride: int = 1
) -> Int64Array:
    """Return the indices of a clip at a random position, for training.

    Args:
        total_frames: Frames of the video.
        num_frames: Frames per clip.
        generator: Source of one random number; every start that leaves room for a full clip is equally likely.
        stride: Step from one frame of the clip to the next, in source frames.

    Returns:
        int64 ``(num_frames,)``, ascending; spread over the whole video if it is too short for a clip.

    Raises:
        InputError: If a count is smaller than 1.
    """
    _require_counts(total_frames=total_frames, num_frames=num_frames, stride=stride)
    # Number of starts at which a full clip fits.
    room = total_frames - (num_frames - 1) * stride
    if room < 1:
        return uniform_indices(total_frames, num_frames)
    return int(generator.integers(room)) + np.arange(num_frames) * stride


@dataclass(frozen=True, kw_only=True)
class WindowSettings:
    """Sliding windows over a video: in seconds, or in source frames when ``frame_stride`` is given.

    Attributes:
        num_frames: Frames per clip.
        window_seconds: Length of a window in seconds.
        hop_seconds: Step between the starts of windows in seconds; None for the window's length.
        frame_stride: Take every n-th source frame, whatever its time; a window then is ``num_frames`` of them.
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
            if seconds is not None:
                limits = {"low": MIN_SECONDS, "high": MAX_SECONDS}
                # The dataclass is frozen; numbers of NumPy become plain ones, which JSON can hold.
                object.__setattr__(self, name, number_argument(seconds, name, unit="seconds", **limits))
        for name in ("num_frames", "frame_stride", "hop_frames"):
            count = getattr(self, name)
            if count is not None:
                object.__setattr__(self, name, integer_argument(count, name, high=MAX_FRAMES))
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
        """Return settings with the defaults of the weights' preprocessing.

        Args:
            preprocess: Gives the frames per clip and the default window length.
            window_seconds: See the attributes, as for the arguments that follow.
            hop_seconds: As there.
            frame_stride: As there.
            hop_frames: As there.

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
        """Return the settings in effect, defaults filled in, as plain JSON values."""
        if self.frame_stride is None:
            hop = self.window_seconds if self.hop_seconds is None else self.hop_seconds
            return {"num_frames": self.num_frames, "window_seconds": self.window_seconds, "hop_seconds": hop}
        hop_frames = self.num_frames * self.frame_stride if self.hop_frames is None else self.hop_frames
        return {"num_frames": self.num_frames, "frame_stride": self.frame_stride, "hop_frames": hop_frames}


@dataclass(frozen=True, eq=False)
class WindowPlan:
    """The clips of one video before it is decoded; all times in seconds after the first frame.

    Attributes:
        start_seconds: Start of each window, ascending, ``(num_clips,)``.
        end_seconds: End of each window, at most the end of the video, ``(num_clips,)``.
        frame_times: Times of each clip's frames, ascending along both axes,
            ``(num_clips, num_frames)``.
    """

    start_seconds: Float64Array
    end_seconds: Float64Array
    frame_times: Float64Array

    def __len__(self) -> int:
        return len(self.start_seconds)


def plan_windows(source: VideoSource, settings: WindowSettings) -> WindowPlan:
    """Return the clips of a video, before it is decoded.

    The rules of the last, shorter window and of the times within a window are those of
    :func:`~endofm.video.clip_windows.sliding_windows` and :func:`~endofm.video.clip_windows.clip_times`. A file is read
    once for the times of its frames, because headers are often wrong; nothing is decoded.

    Args:
        source: Video with at least one frame.
        settings: Window and hop.
    """
    times, end = source.frame_times(), source.end_seconds()
    if settings.frame_stride is not None:
        count, stride = settings.num_frames, settings.frame_stride
        indices = sliding_indices(len(times), count, stride=stride, hop=settings.hop_frames)
        # A window ends where the frame after its last one begins, or at the end of the video.
        edges = np.append(times, end)
        after = np.minimum(indices[:, 0] + count * stride, len(times))
        return WindowPlan(times[indices[:, 0]], edges[after], times[indices])
    windows = sliding_windows(end, settings.window_seconds, settings.hop_seconds)
    # The median, because one gap in the recording must not move the frames of every clip.
    frame_duration = float(np.median(np.diff(times, append=end)))
    return WindowPlan(
        np.array([window.start for window in windows]),
        np.array([window.end for window in windows]),
        np.stack([clip_times(*window, settings.num_frames, frame_duration) for window in windows]),
    )
