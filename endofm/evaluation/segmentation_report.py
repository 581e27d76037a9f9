"""Segmentation report: metrics with confidence intervals, one row per clip, a sheet of the worst frames."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from endofm.evaluation.bootstrap import BootstrapSettings
from endofm.evaluation.mask_metrics import ClipScores, clip_rows, mask_metrics
from endofm.evaluation.report import Report, score
from endofm.evaluation.worst_frames import WorstFrames
from endofm.files import atomic_path

_DEFINITIONS = {
    "dice_clip": "mean over clips of the Dice of all frames of a clip together; two empty masks count 1",
    "iou_clip": "mean over clips of the intersection over union of all frames of a clip together",
    "dice_frame": "mean over frames",
    "iou_frame": "mean over frames",
    "hd95_frame": "mean over the frames where both masks are non-empty or both are empty (0); pixels",
    "missed_frames": "fraction of the frames with an object in which nothing was predicted",
    "false_alarm_frames": "fraction of the frames without an object in which something was predicted",
    "published_dice": "as published: clips without an object score 1 if something was predicted, 0 if not",
    "published_hd95": "as published: of the volume, time as a third axis, 0 where a mask is empty",
}


@dataclass(frozen=True, eq=False, kw_only=True)
class SegmentationReport(Report):
    """Scores of a segmentation model on clips with masks.

    Attributes:
        labels: Names of the classes, background first.
        scores: Scores of every clip.
        worst: Frames with the lowest Dice; None for no sheet.
    """

    labels: tuple[str, ...]
    scores: tuple[ClipScores, ...]
    worst: WorstFrames | None = None
    task: ClassVar[str] = "segmentation"

    @classmethod
    def of(
        cls,
        scores: Sequence[ClipScores],
        labels: tuple[str, ...],
        *,
        settings: Mapping[str, Any] | None = None,
        notes: Sequence[str] = (),
        bootstrap: BootstrapSettings | None = None,
        worst: WorstFrames | None = None,
    ) -> SegmentationReport:
        """Compute metrics and intervals.

        Args:
            scores: One entry per clip.
            labels: Names of the classes, background first.
            settings: How the masks were made, plain values.
            notes: What a reader has to know.
            bootstrap: Settings of the intervals.
            worst: Frames for the contact sheet.
        """
        shared = score(
            lambda indices: mask_metrics([scores[index] for index in indices]),
            [clip.group for clip in scores],
            settings=settings,
            notes=notes,
            bootstrap_settings=bootstrap,
        )
        return cls(labels=labels, scores=tuple(scores), worst=worst, **shared)

    def heading(self) -> str:
        """Return what was scored, as one line."""
        groups = len({clip.group for clip in self.scores})
        return f"{self._num_frames} frames of {len(self.scores)} clips of {groups} patients or videos"

    def details(self) -> dict[str, Any]:
        """Return labels, counts and what the metrics mean."""
        return {
            "labels": list(self.labels),
            "clips": len(self.scores),
            "frames": self._num_frames,
            "groups": len({clip.group for clip in self.scores}),
            "definitions": _DEFINITIONS,
        }

    def tables(self) -> Mapping[str, Iterable[Sequence[object]]]:
        """Return ``clips.csv``: the metrics of every clip."""
        rows = clip_rows(self.scores)
        return {"clips.csv": [list(rows[0]), *(list(row.values()) for row in rows)]}

    def draw(self, folder: Path) -> None:
        """Draw ``worst.png`` if frames were kept for it."""
        if self.worst is not None and len(self.worst):
            with atomic_path(folder / "worst.png") as temporary:
                self.worst.draw().save(temporary)

    @property
    def _num_frames(self) -> int:
        return sum(len(clip.frame_dice) for clip in self.scores)
