"""Detection report: metrics with confidence intervals, pooled and per video, with score sweep and worst frames."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from endofm.evaluation.bootstrap import BootstrapSettings, plain
from endofm.evaluation.detection_metrics import DetectionMetrics
from endofm.evaluation.detection_records import DetectionResults
from endofm.evaluation.report import Report, score


@dataclass(frozen=True, eq=False, kw_only=True)
class DetectionReport(Report):
    """Scores of a detector on videos with boxes; the metrics are over all videos.

    Attributes:
        results: Predicted and true boxes.
        threshold: Score from which a box counts.
        per_video: The same metrics of each video, by its name.
    """

    results: DetectionResults
    threshold: float
    per_video: Mapping[str, Mapping[str, float]]
    task: ClassVar[str] = "detection"

    @classmethod
    def of(
        cls,
        results: DetectionResults,
        *,
        threshold: float = 0.5,
        settings: Mapping[str, Any] | None = None,
        notes: Sequence[str] = (),
        bootstrap: BootstrapSettings | None = None,
    ) -> DetectionReport:
        """Compute metrics and intervals.

        Args:
            results: Predicted boxes, not thresholded, and true boxes.
            threshold: Score from which a box counts.
            settings: How the boxes were made, plain values.
            notes: What a reader has to know.
            bootstrap: Settings of the intervals; by default 500 resamples, as average precision is slow.
        """
        metrics = DetectionMetrics(results, threshold=threshold)
        shared = score(
            lambda indices: metrics.over(indices.tolist()),
            [video.group for video in results.videos],
            settings=settings,
            notes=notes,
            bootstrap_settings=bootstrap or BootstrapSettings(resamples=500),
        )
        per_video = {video.name: metrics.over([index]) for index, video in enumerate(results.videos)}
        return cls(results=results, threshold=threshold, per_video=per_video, **shared)

    def heading(self) -> str:
        """Return what was scored, as one line."""
        frames = self.results.frames
        objects = sum(len(frame.true_boxes) for frame in frames)
        return (
            f"{len(frames)} frames of {len(self.results.videos)} videos, {objects} objects; "
            f"threshold {self.threshold:g}"
        )

    def details(self) -> dict[str, Any]:
        """Return labels, threshold, counts and the metrics of every video."""
        frames = self.results.frames
        per_video = {
            name: {metric: plain(value) for metric, value in row.items()} for name, row in self.per_video.items()
        }
        return {
            "labels": list(self.results.labels),
            "threshold": self.threshold,
            "items": len(frames),
            "videos": len(self.results.videos),
            "groups": len({video.group for video in self.results.videos}),
            "objects": sum(len(frame.true_boxes) for frame in frames),
            "frames_with_objects": sum(len(frame.true_boxes) > 0 for frame in frames),
            "per_video": per_video,
        }

    def tables(self) -> Mapping[str, Iterable[Sequence[object]]]:
        """Return ``videos.csv``: the metrics of every video."""
        rows: list[list[object]] = [["video", "group", "frames", *self.metrics]]
        for video in self.results.videos:
            values = (self.per_video[video.name][name] for name in self.metrics)
            numbers = ["" if np.isnan(value) else f"{value:.6f}" for value in values]
            rows.append([video.name, video.group, len(video.frames), *numbers])
        return {"videos.csv": rows}

    def draw(self, folder: Path) -> None:
        """Draw ``sweep.png`` and ``worst.png``."""
        from endofm.evaluation.detection_plots import draw_worst, plot_sweep

        plot_sweep(self.results, folder / "sweep.png", threshold=self.threshold)
        draw_worst(self.results, folder / "worst.png", threshold=self.threshold)
