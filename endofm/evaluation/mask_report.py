"""What is told of a mask model: metrics with intervals, one row per clip, a sheet of its worst frames."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from endofm._version import __version__
from endofm.evaluation.bootstrap import Interval, bootstrap
from endofm.evaluation.mask_sheet import WorstFrames
from endofm.evaluation.masks import ClipScores, mask_metrics, scores_table
from endofm.evaluation.report import DISCLAIMER, REPORT_NAME, write_json
from endofm.files import atomic_path

SHEET_NAME = "worst.png"
CLIPS_NAME = "clips.csv"

# Fewer groups than this make percentile intervals too narrow to be believed.
_FEW_GROUPS = 20

_DEFINITIONS = {
    "dice_clip": "mean over clips of the Dice of all frames of a clip together; two empty masks count 1",
    "iou_clip": "likewise, intersection over union",
    "dice_frame": "mean over frames",
    "iou_frame": "mean over frames",
    "hd95_frame": "mean over the frames where both masks hold something or neither does (0); pixels",
    "missed_frames": "share of the frames with something to find where nothing was found",
    "false_alarm_frames": "share of the frames with nothing to find where something was found",
    "published_dice": "as the original counts it: clips with nothing to find score 1 if something was found, 0 if not",
    "published_hd95": "as the original counts it: of the volume, time as a third axis, 0 where a mask is empty",
}


@dataclass(frozen=True, eq=False, kw_only=True)
class SegmentationReport:
    """How a mask model does on clips with masks.

    Attributes:
        labels: Names of the classes, background first.
        scores: What it rests on.
        metrics: Every metric of :func:`~endofm.evaluation.masks.mask_metrics` with its interval.
        settings: How it came about, plain values.
        notes: What a reader has to know, as sentences.
        bootstrap_settings: Number of resamples, level and seed of the intervals.
        worst: Frames with the lowest Dice, None for no sheet.
    """

    labels: tuple[str, ...]
    scores: tuple[ClipScores, ...]
    metrics: Mapping[str, Interval]
    settings: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    bootstrap_settings: Mapping[str, Any] = field(default_factory=dict)
    worst: WorstFrames | None = None

    @classmethod
    def of(
        cls,
        scores: Sequence[ClipScores],
        labels: tuple[str, ...],
        *,
        settings: Mapping[str, Any] | None = None,
        notes: Sequence[str] = (),
        resamples: int = 1000,
        level: float = 0.95,
        seed: int = 0,
        worst: WorstFrames | None = None,
    ) -> SegmentationReport:
        """Compute metrics and intervals.

        Args:
            scores: One entry per clip.
            labels: Names of the classes, background first.
            settings: How the masks came about, plain values.
            notes: What a reader has to know.
            resamples: Resamples of the bootstrap over the clips' groups; 0 for no intervals.
            level: Share of the resamples within an interval.
            seed: Seed of the bootstrap.
            worst: Frames for the contact sheet.
        """
        groups = [score.group for score in scores]
        metrics = bootstrap(
            lambda places: mask_metrics([scores[place] for place in places]),
            groups,
            resamples=resamples,
            level=level,
            seed=seed,
        )
        told = list(notes)
        if resamples and len(set(groups)) < _FEW_GROUPS:
            told.append(f"The intervals rest on {len(set(groups))} patients or videos only and are likely too narrow.")
        return cls(
            labels=labels,
            scores=tuple(scores),
            metrics=metrics,
            settings=dict(settings or {}),
            notes=tuple(told),
            bootstrap_settings={"resamples": resamples, "level": level, "seed": seed, "unit": "patient, else video"},
            worst=worst,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "task": "segmentation",
            "labels": list(self.labels),
            "clips": len(self.scores),
            "frames": sum(len(score.frame_dice) for score in self.scores),
            "groups": len({score.group for score in self.scores}),
            "metrics": {name: interval.to_dict() for name, interval in self.metrics.items()},
            "definitions": _DEFINITIONS,
            "bootstrap": dict(self.bootstrap_settings),
            "settings": dict(self.settings),
            "notes": [*self.notes, DISCLAIMER],
            "library": {"endofm": __version__},
        }

    def save(self, folder: str | Path) -> Path:
        """Write ``report.json``, ``clips.csv`` and, if there are frames for it, ``worst.png``.

        Args:
            folder: Created if missing; the files in it are replaced.

        Returns:
            The path of ``report.json``.
        """
        folder = Path(folder)
        rows = scores_table(self.scores)
        with atomic_path(folder / CLIPS_NAME) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        if self.worst is not None and len(self.worst):
            with atomic_path(folder / SHEET_NAME) as temporary:
                self.worst.draw().save(temporary)
        write_json(folder / REPORT_NAME, self.to_dict())
        return folder / REPORT_NAME
