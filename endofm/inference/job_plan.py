"""The cost of a job before it runs: videos and their length, time by a measured sample, disk."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from endofm.address import Address
from endofm.errors import EndoFMError, VideoError
from endofm.files import size_text
from endofm.inference.video_paths import VideoItem
from endofm.progress import duration_text
from endofm.video.open import open_video

T = TypeVar("T")

# Headers are read of this many videos; the others are taken to be like them.
_OPENED = 200
_SAMPLE_SECONDS, _SAMPLE_RESULTS = 20.0, 6

PART_SECONDS = 600.0
"""Length of the parts of a long video."""

DIVIDED_FROM = 1.5
"""A video is divided if it is longer than so many parts; a shorter one would gain little."""


def stated_length(path: Path | Address) -> tuple[int, float] | None:
    """Return number of frames and seconds of a video as its header states them.

    Returns:
        None if it states none, or cannot be read.
    """
    try:
        with open_video(path) as source:
            metadata = source.metadata
    except (EndoFMError, OSError):
        return None
    seconds = metadata.duration_seconds
    if not seconds or not metadata.average_fps:
        return None
    return metadata.num_frames or round(seconds * metadata.average_fps), seconds


def spread(items: Sequence[T], most: int) -> list[T]:
    """Return at most ``most`` items, spread evenly."""
    count = min(len(items), most)
    return [items[index * len(items) // count] for index in range(count)]


class Sample(NamedTuple):
    """Cost of the work on a second of video.

    Attributes:
        seconds: Time.
        size_bytes: Size of its results.
    """

    seconds: float
    size_bytes: float = 0.0


def end_of_result(result: Any) -> float:
    """Return the time in the video at which a result of a task ends, in seconds: that of a clip, or of a frame."""
    if hasattr(result, "end_seconds"):
        return float(result.end_seconds)
    start = result.seconds if hasattr(result, "seconds") else result.pts_seconds
    return float(start + result.duration_seconds)


def measure(
    results: Generator[T, None, None],
    end_of: Callable[[T], float] = end_of_result,
    size_of: Callable[[T], float] = lambda result: 0.0,
) -> Sample:
    """Take the first results of a video, and return what they took; the very first one only warms up.

    Args:
        results: Results in order of time.
        end_of: Returns the time in the video at which a result ends, in seconds.
        size_of: Returns the bytes of a result.

    Raises:
        VideoError: If there are none.
    """
    marks = [_Mark(time.perf_counter(), 0.0, 0.0)]
    with closing(results):
        for result in islice(results, _SAMPLE_RESULTS):
            marks.append(_Mark(time.perf_counter(), end_of(result), marks[-1].size + size_of(result)))
            if marks[-1].moment - marks[0].moment > _SAMPLE_SECONDS:
                break
    last = marks[-1]
    first = next((mark for mark in (*marks[1:2], marks[0]) if mark.end < last.end), None)
    if first is None:
        raise VideoError("nothing of the first video could be decoded, by which the time would be measured")
    length = last.end - first.end
    return Sample((last.moment - first.moment) / length, (last.size - first.size) / length)


class _Mark(NamedTuple):
    moment: float
    end: float
    size: float


@dataclass(frozen=True, kw_only=True)
class JobPlan:
    """Expected cost of a job.

    Attributes:
        videos: Number of videos to process.
        done: Number of videos that are done.
        seconds: Length of the former.
        parts: Number of parts that they are divided into, those that stay whole included.
        sample: What a second of them takes; None if that could not be measured.
    """

    videos: int
    done: int
    seconds: float
    parts: int
    sample: Sample | None

    def lines(self, jobs: int, free_bytes: int | None) -> list[str]:
        """Return the plan as lines of text.

        Args:
            jobs: Number of videos at a time.
            free_bytes: Space that is left for results, None if unknown.
        """
        lines = [f"videos: {self.videos:,} to process, {self.done:,} done before; about {duration_text(self.seconds)}"]
        if self.parts > self.videos:
            lines.append(f"parts: {self.parts:,}, since long videos are divided")
        if self.sample is None:
            return [*lines, "time: not known, because the first video cannot be read"]
        total = self.seconds * self.sample.seconds
        lines.append(
            f"time: about {duration_text(total)} in one job, or {duration_text(total / jobs)} in {jobs:,} at a time; "
            "measured here on the first video"
        )
        if self.sample.size_bytes:
            free = "" if free_bytes is None else f"; {size_text(free_bytes)} are free"
            lines.append(f"disk: about {size_text(self.seconds * self.sample.size_bytes)}{free}")
        return lines


def plan_job(
    items: Sequence[VideoItem], done: int, sample: Callable[[VideoItem], Sample] | None, *, divided: bool
) -> JobPlan:
    """Plan a job.

    Args:
        items: Videos to process.
        done: Number of videos that are done.
        sample: Measures what a second of a video takes.
        divided: Long videos are divided into parts.
    """
    lengths = [length[1] for item in spread(items, _OPENED) if (length := stated_length(item.path)) is not None]
    share = len(items) / len(lengths) if lengths else 0.0
    parts = sum(parts_of(length) for length in lengths) if divided else len(lengths)
    measured = None
    if items and sample is not None:
        with suppress(EndoFMError, OSError):
            measured = sample(items[0])
    return JobPlan(
        videos=len(items),
        done=done,
        seconds=share * sum(lengths),
        parts=round(share * parts),
        sample=measured,
    )


def parts_of(seconds: float) -> int:
    """Return the number of parts that a video of a length is divided into."""
    return math.ceil(seconds / PART_SECONDS) if seconds >= DIVIDED_FROM * PART_SECONDS else 1
