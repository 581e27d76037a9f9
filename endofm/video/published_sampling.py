"""Frame sampling of the published code (``datasets/decoder.py`` of med-air/Endo-FM, commit 206427e).

It has two steps: a range of the stream is decoded, then frames are picked from that range. Both are reproduced exactly,
since published numbers depend on them, with their consequences: evaluation uses only the first 8.5 s of a video, and a
short video repeats its last frame. For new work see :mod:`endofm.video.clip_windows`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from endofm.errors import InputError
from endofm.video.clip_windows import Int64Array

SEEK_MARGIN = 1024
"""Time-base units by which the published code seeks ahead of the range."""


@dataclass(frozen=True, eq=False)
class PublishedClip:
    """Frames that the published code takes for one clip.

    Attributes:
        seek_pts: Position of the seek (backwards to a key frame), in time-base units.
        decoded: First frame that is kept after decoding, and the one after the last.
        indices: Picked frames, int64 ``(num_frames,)``, counted from the first frame of the stream.
    """

    seek_pts: int
    decoded: tuple[int, int]
    indices: Int64Array


def pick_indices(start: float, end: float, num_frames: int, total_frames: int) -> Int64Array:
    """Return evenly spread indices: a float32 ``linspace``, limited to ``[0, total_frames - 1]`` and truncated.

    Truncation makes the last bit of the ``linspace`` count, so it is computed as ``torch.linspace`` does it: with one
    float32 step, from both ends towards the middle.
    """
    first, last = np.float32(start), np.float32(end)
    position = np.arange(num_frames)
    step = (last - first) / np.float32(max(num_frames - 1, 1))
    from_start = first + step * position.astype(np.float32)
    from_end = last - step * position[::-1].astype(np.float32)
    values = np.where(position < num_frames // 2, from_start, from_end) if num_frames > 1 else np.array([first])
    picked: Int64Array = np.clip(values, 0, total_frames - 1).astype(np.int64)
    return picked


def published_clip(
    frame_pts: npt.ArrayLike,
    fps: float,
    *,
    duration_pts: int | None,
    num_frames: int = 8,
    sampling_rate: int = 32,
    target_fps: float = 30,
    clip_idx: int = 0,
    num_clips: int = 1,
    uniform: Callable[[float, float], float] | None = None,
) -> PublishedClip:
    """Return the frames of one clip by the published rule.

    Args:
        frame_pts: Time stamps of all frames in time-base units, ascending.
        fps: Average rate of the stream in frames per second.
        duration_pts: Duration that the stream's header states, in time-base units; None if it states none, in which
            case the published code decodes everything and chooses the start among the decoded frames.
        num_frames: Frames per clip.
        sampling_rate: Step between frames at the target rate.
        target_fps: Rate at which ``sampling_rate`` counts; together they span
            ``sampling_rate * num_frames / target_fps`` seconds.
        clip_idx: Index of one of ``num_clips`` evenly spaced views (the last does not reach the end), or -1 for a
            random start as in training.
        num_clips: Number of views.
        uniform: ``uniform(low, high)`` draws the random start, e.g. ``numpy.random.Generator.uniform``. Needed for
            ``clip_idx=-1``.

    Raises:
        InputError: If there are no frames, or a random start is requested without ``uniform``.
    """
    pts = np.asarray(frame_pts, np.int64)
    if pts.ndim != 1 or not len(pts) or (np.diff(pts) <= 0).any():
        raise InputError("frame_pts must hold the ascending time stamps of at least one frame")
    if not -1 <= clip_idx < num_clips:
        raise InputError(f"clip_idx must be between 0 and num_clips - 1 = {num_clips - 1}, or -1; got {clip_idx}")
    if clip_idx == -1 and uniform is None:
        raise InputError("a random start (clip_idx=-1) needs the argument uniform")
    # Frames of the source that a clip spans, a float as in the published code.
    span = sampling_rate * num_frames / target_fps * fps

    def start_among(count: int) -> float:
        room = max(count - span, 0)
        if clip_idx == -1:
            assert uniform is not None
            return uniform(0, room)
        return room * clip_idx / num_clips

    total = len(pts)
    if duration_pts is None:
        start = start_among(total)
        return PublishedClip(0, (0, total), pick_indices(start, start + span - 1, num_frames, total))
    start = start_among(total)
    pts_per_frame = duration_pts / total
    # Truncated, not rounded: the published code converts floats to integers.
    start_pts, end_pts = int(start * pts_per_frame), int((start + span - 1) * pts_per_frame)
    first = int(np.searchsorted(pts, start_pts, side="left"))
    stop = min(int(np.searchsorted(pts, end_pts, side="right")) + 1, total)
    if first == stop:
        raise InputError(f"there is no frame between {start_pts} and {end_pts} time-base units")
    picked = first + pick_indices(0, span - 1, num_frames, stop - first)
    return PublishedClip(max(start_pts - SEEK_MARGIN, 0), (first, stop), picked)
