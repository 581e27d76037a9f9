"""Results of task models for a report: curves over time, and the frames that matter with masks and boxes painted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from endofm.report.shots import LARGE, Shot, encode_picture
from endofm.video.frames import Frame, UInt8Array

if TYPE_CHECKING:
    from endofm.tasks.classification.results import VideoClassification
    from endofm.tasks.detection.frame_detections import FrameDetections
    from endofm.tasks.detection.model import EndoFMForDetection
    from endofm.tasks.detection.results import VideoDetections
    from endofm.tasks.segmentation.frame_mask import FrameMask
    from endofm.tasks.segmentation.model import EndoFMForSegmentation
    from endofm.tasks.segmentation.results import VideoMasks

MOST_SHOTS = 8
"""Painted frames of a task."""


class Span(NamedTuple):
    """Values of a task for a part of the procedure.

    Attributes:
        start_seconds: Start of the part.
        end_seconds: Its end.
        values: One per label.
    """

    start_seconds: float
    end_seconds: float
    values: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class TaskSection:
    """Results of one task model.

    Attributes:
        title: Heading.
        measure: Name of the values, for the axis: ``"probability"``.
        labels: Names of the curves.
        spans: Values in order of time.
        shots: Frames that matter, painted, in order of time.
        summary: One sentence about the whole procedure.
        brief: The same in a few words, for a table of procedures.
        weights: Name of the weights.
        untrained: The weights are random.
    """

    title: str
    measure: str
    labels: tuple[str, ...]
    spans: tuple[Span, ...]
    summary: str
    brief: str
    weights: str
    shots: tuple[Shot, ...] = ()
    untrained: bool = False


class Examined(NamedTuple):
    """Result of a task model for one frame: a value for every label, and how to paint it."""

    values: tuple[float, ...]
    paint: Callable[[], UInt8Array]


@dataclass
class FrameExaminer:
    """Collects what a task finds in single frames.

    Attributes:
        find: Returns what there is in a frame.
        labels: Names of the values.
        title: As in :class:`TaskSection`, like the attributes that follow.
        measure: As there.
        weights: As there.
        untrained: As there.
    """

    find: Callable[[Frame], Examined]
    labels: tuple[str, ...]
    title: str
    measure: str
    weights: str
    untrained: bool
    _found: list[tuple[float, float, tuple[float, ...], Any]] = field(default_factory=list)

    def look(self, frame: Frame, start_seconds: float, end_seconds: float) -> None:
        """Find and keep what is in the frame that stands for a span of time."""
        values, paint = self.find(frame)
        # Painted at once, because frames are not kept; where nothing is found there is nothing to show.
        picture = encode_picture(paint(), LARGE) if max(values, default=0.0) > 0 else None
        self._found.append((start_seconds, end_seconds, values, Shot(frame.pts_seconds, picture)))

    def section(self) -> TaskSection:
        """Return what was found in all frames."""
        strength = np.array([max(values, default=0.0) for _, _, values, _ in self._found])
        chosen = strongest(strength, MOST_SHOTS)
        shots = []
        for index in chosen:
            _, _, values, shot = self._found[index]
            best = int(np.argmax(values))
            shots.append(shot._replace(note=f"{self.labels[best]}, {self.measure} {values[best]:.2f}"))
        count = int((strength > 0).sum())
        return TaskSection(
            title=self.title,
            measure=self.measure,
            labels=self.labels,
            spans=tuple(Span(start, end, values) for start, end, values, _ in self._found),
            shots=tuple(shots),
            summary=f"Something was found in {count} of {len(self._found)} frames that were looked at.",
            brief=f"{self.title.lower()}: {count} of {len(self._found)} frames",
            weights=self.weights,
            untrained=self.untrained,
        )


def strongest(values: npt.NDArray[np.float64], n: int) -> list[int]:
    """Return the positions of the largest positive values, in order, none right beside another if that can be.

    Args:
        values: One per frame, in order of time.
        n: Largest number of positions.
    """
    apart = max(len(values) // (4 * n), 1)
    order = [int(index) for index in np.argsort(-values, kind="stable") if values[index] > 0]
    chosen: list[int] = []
    for index in order:
        if len(chosen) < n and all(abs(index - other) > apart for other in chosen):
            chosen.append(index)
    return sorted(chosen)


def classification_section(result: VideoClassification) -> TaskSection:
    """Return the probabilities of a classifier; of two exclusive classes the second alone."""
    head = result.head
    shown = head.labels[1:] if head.num_classes == 2 and not head.multi_label else head.labels
    columns = [head.labels.index(label) for label in shown]
    means = dict(zip(result.labels, result.video_probabilities.tolist(), strict=True))
    predicted = ", ".join(f"{label} ({means[label]:.2f})" for label in result.predicted_labels) or "no label"
    return TaskSection(
        title="Classification",
        measure="probability",
        labels=shown,
        spans=tuple(
            Span(clip.start_seconds, clip.end_seconds, tuple(float(clip.probabilities[column]) for column in columns))
            for clip in result
        ),
        summary=f"The whole procedure: {predicted}, mean probability over time.",
        brief=predicted,
        weights=weights_name(result.provenance),
        untrained=result.untrained,
    )


def detection_examiner(model: EndoFMForDetection | None, saved: VideoDetections | None = None) -> FrameExaminer:
    """Return the examiner of boxes, by a model on single frames or from the results of a whole video."""
    labels, weights, untrained = _names(model, saved.label_names if saved else (), saved.provenance if saved else {})

    def find(frame: Frame) -> Examined:
        from endofm.tasks.detection.box_painting import box_painter

        boxes: FrameDetections
        if saved is not None:
            boxes = saved.at(frame.pts_seconds)
        else:
            assert model is not None
            boxes = model.predict(frame.data, progress=False, link=False)[0]
        values = [
            max((s for s, label in zip(boxes.scores, boxes.labels, strict=True) if label == index), default=0.0)
            for index in range(len(labels))
        ]
        # At its own time, whatever frame of the video it was.
        painter = box_painter([boxes], labels, min_score=0.0)
        still = Frame(frame.data, boxes.seconds, frame.duration_seconds)
        return Examined(tuple(float(value) for value in values), lambda: painter(still))

    return FrameExaminer(find, labels, "Detection", "largest score", weights, untrained)


def segmentation_examiner(model: EndoFMForSegmentation | None, saved: VideoMasks | None = None) -> FrameExaminer:
    """Return the examiner of masks, by a model on single frames or from the results of a whole video."""
    labels, weights, untrained = _names(model, saved.labels if saved else (), saved.provenance if saved else {})

    def find(frame: Frame) -> Examined:
        from endofm.tasks.segmentation.mask_painting import paint_labels

        mask: FrameMask
        if saved is not None:
            mask = saved.at(frame.pts_seconds)
        else:
            assert model is not None
            mask = model.predict(frame.data, progress=False)[0]
        counts = np.bincount(mask.labels.ravel(), minlength=len(labels)) / mask.labels.size
        return Examined(tuple(counts[1:].tolist()), lambda: paint_labels(frame.data, mask.labels))

    return FrameExaminer(find, labels[1:], "Segmentation", "share of the frame", weights, untrained)


def weights_name(provenance: Mapping[str, Any]) -> str:
    """Return the name of the weights in a provenance."""
    weights = provenance.get("weights") or {}
    return str((weights.get("config") or {}).get("name") or weights.get("source") or "not stated")


def _names(model: Any, labels: tuple[str, ...], provenance: Mapping[str, Any]) -> tuple[tuple[str, ...], str, bool]:
    if model is not None:
        return tuple(model.labels), weights_name({"weights": model.weights_provenance()}), not model.config.trained
    return labels, weights_name(provenance), (provenance.get("weights") or {}).get("config", {}).get("trained") is False
