"""Predicted boxes of a set of videos, paired with the true ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from endofm.data.detection.detection_set import DetectionSet, LabelledVideo
from endofm.errors import InputError
from endofm.tasks.detection.frame_detections import Float32Array, FrameDetections, Int64Array


@dataclass(frozen=True, eq=False)
class FrameResult:
    """True and predicted boxes of one frame.

    Attributes:
        path: Image file, for pictures.
        true_boxes: Objects, x1, y1, x2, y2 in pixels of the frame, ``(n, 4)``.
        true_labels: Class of every object, from 0, ``(n,)``.
        true_tracks: Number of the lesion within the video that every object shows, ``(n,)``.
        boxes: Predicted boxes in descending order of score, ``(m, 4)``.
        scores: Their scores, ``(m,)``.
        labels: Their classes, from 0, ``(m,)``.
        name: Video and number of the frame, for lists.
        ignored: Regions in which predicted boxes are neither hits nor false alarms, ``(k, 4)``.
        ignored_labels: Their classes, ``(k,)``.
    """

    path: Path
    true_boxes: Float32Array
    true_labels: Int64Array
    true_tracks: Int64Array
    boxes: Float32Array
    scores: Float32Array
    labels: Int64Array
    name: str
    ignored: Float32Array = field(default_factory=lambda: np.zeros((0, 4), np.float32))
    ignored_labels: Int64Array = field(default_factory=lambda: np.zeros(0, np.int64))


@dataclass(frozen=True, eq=False)
class VideoResult:
    """True and predicted boxes of one video.

    Attributes:
        name: Name of the video.
        group: Patient, else video: the unit that the bootstrap resamples.
        seconds: Duration that the evaluated frames stand for.
        frames: Evaluated frames, in order.
    """

    name: str
    group: str
    seconds: float
    frames: tuple[FrameResult, ...]


@dataclass(frozen=True, eq=False)
class DetectionResults:
    """True and predicted boxes of all videos of a set.

    Attributes:
        labels: Names of the classes.
        videos: The videos.
    """

    labels: tuple[str, ...]
    videos: tuple[VideoResult, ...]

    def select(self, indices: Sequence[int]) -> DetectionResults:
        """Return the videos at some indices, which may be repeated."""
        return DetectionResults(self.labels, tuple(self.videos[index] for index in indices))

    @property
    def frames(self) -> list[FrameResult]:
        """Frames of all videos."""
        return [frame for video in self.videos for frame in video.frames]


def compare_video(video: LabelledVideo, predicted: Sequence[FrameDetections], *, every: int = 1) -> VideoResult:
    """Pair the predicted boxes of a video with its true boxes.

    Args:
        video: The video with its boxes.
        predicted: Predictions for every ``every``-th of its frames, without a threshold on scores.
        every: Step between the frames that the detector was run on.

    Raises:
        InputError: If the number of frames differs.
    """
    frames = video.frames[::every]
    if len(frames) != len(predicted):
        raise InputError(f"{video.name}: expected predictions for {len(frames)} frames, got {len(predicted)}")
    # Lesions are linked over all frames first: a step would tear their tracks apart.
    tracks = lesion_numbers(video)[::every]
    results = tuple(
        FrameResult(
            path=frame.path,
            true_boxes=frame.boxes,
            true_labels=frame.labels,
            true_tracks=lesions,
            boxes=boxes.boxes,
            scores=boxes.scores,
            labels=boxes.labels,
            name=f"{video.name}/{frame.number}",
            ignored=frame.ignored,
            ignored_labels=frame.ignored_labels,
        )
        for frame, lesions, boxes in zip(frames, tracks, predicted, strict=True)
    )
    return VideoResult(video.name, video.patient, len(video) / video.fps, results)


def lesion_numbers(video: LabelledVideo) -> list[Int64Array]:
    """Return for each frame the lesion that each of its boxes shows, numbered within the video.

    Where the set does not number them, boxes are linked by their overlap; a lesion that is out of sight for half a
    second counts as another one.
    """
    from endofm.tasks.detection.tracks import TrackLinker

    if all((frame.tracks >= 0).all() for frame in video.frames):
        return [frame.tracks for frame in video.frames]
    # At low frame rates half a second may be less than one frame, so at least two frames are bridged.
    linker = TrackLinker(min_iou=0.1, max_gap_seconds=max(0.5, 2 / video.fps))
    return [linker.link(frame.boxes, index / video.fps) for index, frame in enumerate(video.frames)]


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
