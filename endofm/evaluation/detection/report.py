"""What is told of a detector: metrics with intervals, per video and pooled; as JSON, CSV and pictures."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from endofm._version import __version__
from endofm.evaluation.bootstrap import Interval, bootstrap, plain
from endofm.evaluation.detection.metrics import DetectionMetrics
from endofm.evaluation.detection.records import DetectionResults
from endofm.evaluation.report import DISCLAIMER, REPORT_NAME, write_json
from endofm.files import atomic_path

# Fewer videos than this make percentile intervals too narrow to be believed.
_FEW_GROUPS = 20


@dataclass(frozen=True, eq=False, kw_only=True)
class DetectionReport:
    """How a detector does on videos with boxes.

    Attributes:
        results: What it rests on.
        threshold: Score from which a box counts.
        metrics: Every metric of :mod:`endofm.evaluation.detection.metrics` over all videos, with its interval.
        per_video: The same of each video alone, by name.
        settings: How it came about, plain values.
        notes: What a reader has to know, as sentences.
        bootstrap_settings: Number of resamples, level and seed of the intervals.
    """

    results: DetectionResults
    threshold: float
    metrics: Mapping[str, Interval]
    per_video: Mapping[str, Mapping[str, float]]
    settings: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    bootstrap_settings: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        results: DetectionResults,
        *,
        threshold: float = 0.5,
        settings: Mapping[str, Any] | None = None,
        notes: Sequence[str] = (),
        resamples: int = 500,
        level: float = 0.95,
        seed: int = 0,
    ) -> DetectionReport:
        """Compute metrics and intervals.

        Args:
            results: Boxes found, without a threshold, and true.
            threshold: Score from which a box counts.
            settings: How they came about, plain values.
            notes: What a reader has to know.
            resamples: Resamples of the bootstrap over patients, or videos where they are not known; 0 for none.
            level: Share of the resamples within an interval.
            seed: Seed of the bootstrap.
        """
        metrics = DetectionMetrics(results, threshold=threshold)
        groups = [video.group for video in results.videos]
        intervals = bootstrap(
            lambda places: metrics.over(places.tolist()), groups, resamples=resamples, level=level, seed=seed
        )
        told = list(notes)
        if resamples and len(set(groups)) < _FEW_GROUPS:
            told.append(f"The intervals rest on {len(set(groups))} patients or videos only and are likely too narrow.")
        return cls(
            results=results,
            threshold=threshold,
            metrics=intervals,
            per_video={video.name: metrics.over([place]) for place, video in enumerate(results.videos)},
            settings=dict(settings or {}),
            notes=tuple(told),
            bootstrap_settings={"resamples": resamples, "level": level, "seed": seed, "unit": "patient, else video"},
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        frames = self.results.frames
        return {
            "task": "detection",
            "labels": list(self.results.labels),
            "threshold": self.threshold,
            "items": len(frames),
            "videos": len(self.results.videos),
            "groups": len({video.group for video in self.results.videos}),
            "objects": sum(len(frame.true_boxes) for frame in frames),
            "frames_with_objects": sum(len(frame.true_boxes) > 0 for frame in frames),
            "metrics": {name: interval.to_dict() for name, interval in self.metrics.items()},
            "bootstrap": dict(self.bootstrap_settings),
            "per_video": {
                name: {metric: plain(value) for metric, value in row.items()} for name, row in self.per_video.items()
            },
            "settings": dict(self.settings),
            "notes": [*self.notes, DISCLAIMER],
            "library": {"endofm": __version__},
        }

    def save(self, folder: str | Path, *, pictures: bool = True) -> Path:
        """Write ``report.json``, ``videos.csv``, and the pictures ``sweep.png`` and ``worst.png``.

        Args:
            folder: Created if missing; the files in it are replaced.
            pictures: Draw the pictures, which need matplotlib and the images of the set.

        Returns:
            The path of ``report.json``.
        """
        folder = Path(folder)
        write_json(folder / REPORT_NAME, self.to_dict())
        self._write_videos(folder / "videos.csv")
        if pictures:
            from endofm.evaluation.detection.pictures import draw_worst, plot_sweep

            plot_sweep(self.results, folder / "sweep.png", threshold=self.threshold)
            draw_worst(self.results, folder / "worst.png", threshold=self.threshold)
        return folder / REPORT_NAME

    def summary(self) -> str:
        """Return the metrics as lines of a table for people."""
        frames = self.results.frames
        lines = [
            f"{len(frames)} frames of {len(self.results.videos)} videos, "
            f"{sum(len(frame.true_boxes) for frame in frames)} objects; threshold {self.threshold:g}"
        ]
        for name, interval in self.metrics.items():
            ends = "" if np.isnan(interval.low) else f"  [{interval.low:.3f}, {interval.high:.3f}]"
            value = "-" if np.isnan(interval.value) else f"{interval.value:.3f}"
            lines.append(f"{name:<26} {value}{ends}")
        return "\n".join([*lines, *self.notes])

    def _write_videos(self, path: Path) -> None:
        with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["video", "group", "frames", *self.metrics])
            for video in self.results.videos:
                row = self.per_video[video.name]
                values = ["" if np.isnan(row[name]) else f"{row[name]:.6f}" for name in self.metrics]
                writer.writerow([video.name, video.group, len(video.frames), *values])
