"""Boxes that were found beside those that are there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from endofm.data.detection.detection_set import DetectionSet, LabelledVideo
from endofm.errors import InputError
from endofm.tasks.detection.results import Float32Array, FrameDetections, Int64Array


@dataclass(frozen=True, eq=False)
class FrameResult:
    """One frame.

    Attributes:
        path: Its image, for pictures.
        true_boxes: Objects, x1, y1, x2, y2 in pixels of the frame, ``(n, 4)``.
        true_labels: Their classes, from 0, ``(n,)``.
        true_tracks: Number of each object within the video, ``(n,)``.
        boxes: What was found, by descending score, ``(m, 4)``.
        scores: Their scores, ``(m,)``.
        labels: Their classes, from 0, ``(m,)``.
        name: Video and number of the frame, for lists.
    """

    path: Path
    true_boxes: Float32Array
    true_labels: Int64Array
    true_tracks: Int64Array
    boxes: Float32Array
    scores: Float32Array
    labels: Int64Array
    name: str


@dataclass(frozen=True, eq=False)
class VideoResult:
    """One video.

    Attributes:
        name: Its name.
        group: What may not be torn apart when uncertainty is estimated.
        seconds: Length of what was looked at.
        frames: Its frames, in order.
    """

    name: str
    group: str
    seconds: float
    frames: tuple[FrameResult, ...]


@dataclass(frozen=True, eq=False)
class DetectionResults:
    """All videos of a set.

    Attributes:
        labels: Names of the classes.
        videos: The videos.
    """

    labels: tuple[str, ...]
    videos: tuple[VideoResult, ...]

    def take(self, places: Sequence[int]) -> DetectionResults:
        """Return the videos at some places; one may occur several times."""
        return DetectionResults(self.labels, tuple(self.videos[place] for place in places))

    @property
    def frames(self) -> list[FrameResult]:
        """Frames of all videos."""
        return [frame for video in self.videos for frame in video.frames]


def compare_video(video: LabelledVideo, found: Sequence[FrameDetections], *, every: int = 1) -> VideoResult:
    """Put what was found in a video beside its boxes.

    Args:
        video: The video with its boxes.
        found: What was found in every ``every``-th of its frames, without a threshold on scores.
        every: As the detector was run.

    Raises:
        InputError: If the number of frames differs.
    """
    frames = video.frames[::every]
    if len(frames) != len(found):
        raise InputError(f"{video.name}: {len(frames)} frames were to be looked at, {len(found)} were")
    tracks = lesion_numbers(video)[::every]
    results = tuple(
        FrameResult(
            path=frame.path,
            true_boxes=frame.boxes,
            true_labels=frame.labels,
            true_tracks=own,
            boxes=boxes.boxes,
            scores=boxes.scores,
            labels=boxes.labels,
            name=f"{video.name}/{frame.number}",
        )
        for frame, own, boxes in zip(frames, tracks, found, strict=True)
    )
    return VideoResult(video.name, video.patient, len(video) / video.fps, results)


def lesion_numbers(video: LabelledVideo) -> list[Int64Array]:
    """Return for each frame the lesion that each of its boxes shows, numbered within the video.

    Where the set does not tell, boxes are linked by their overlap; unseen for half a second, a lesion counts as
    another one.
    """
    from endofm.tasks.detection.tracks import TrackLinker

    if all((frame.tracks >= 0).all() for frame in video.frames):
        return [frame.tracks for frame in video.frames]
    linker = TrackLinker(min_iou=0.1, max_gap_seconds=max(0.5, 2 / video.fps))
    return [linker.link(frame.boxes, place / video.fps) for place, frame in enumerate(video.frames)]


def check_labels(source: DetectionSet, labels: Sequence[str]) -> None:
    """Raise unless the classes of a set are those of a detector.

    Raises:
        InputError: If they are not.
    """
    if tuple(source.labels) != tuple(labels):
        raise InputError(
            f"{source.name} has the classes {', '.join(source.labels)}, the detector {', '.join(labels)}; they must be "
            "the same, in the same order (data.labels)"
        )
