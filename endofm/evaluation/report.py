"""What is told of a classifier: metrics with intervals, per class, per seed; as JSON, CSV and pictures."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from endofm._version import __version__
from endofm.errors import InputError
from endofm.evaluation.bootstrap import Interval, bootstrap, plain
from endofm.evaluation.metrics import classification_metrics, confusion_matrix, per_class_metrics
from endofm.evaluation.predictions import Predictions
from endofm.files import atomic_path

REPORT_NAME = "report.json"
DISCLAIMER = "Research software: no result is medical advice."

# Fewer groups than this make percentile intervals too narrow to be believed.
_FEW_GROUPS = 20


@dataclass(frozen=True, eq=False, kw_only=True)
class ClassificationReport:
    """How a classifier does on labelled items.

    Attributes:
        predictions: What it rests on.
        metrics: Every metric of :mod:`endofm.evaluation.metrics` with its interval.
        settings: How it came about, plain values.
        notes: What a reader has to know, as sentences.
        bootstrap_settings: Number of resamples, level and seed of the intervals.
    """

    predictions: Predictions
    metrics: Mapping[str, Interval]
    settings: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    bootstrap_settings: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        predictions: Predictions,
        *,
        settings: Mapping[str, Any] | None = None,
        notes: Sequence[str] = (),
        resamples: int = 1000,
        level: float = 0.95,
        seed: int = 0,
    ) -> ClassificationReport:
        """Compute metrics and intervals.

        Args:
            predictions: One row per item, as it is to be counted (one per video for numbers per video).
            settings: How the predictions came about, plain values.
            notes: What a reader has to know.
            resamples: Resamples of the bootstrap over the predictions' groups; 0 for no intervals.
            level: Share of the resamples within an interval.
            seed: Seed of the bootstrap.
        """
        metrics = bootstrap(
            lambda places: classification_metrics(predictions.take(places)),
            predictions.groups,
            resamples=resamples,
            level=level,
            seed=seed,
        )
        groups = len(set(predictions.groups))
        told = list(notes)
        if resamples and groups < _FEW_GROUPS:
            told.append(f"The intervals rest on {groups} patients or videos only and are likely too narrow.")
        return cls(
            predictions=predictions,
            metrics=metrics,
            settings=dict(settings or {}),
            notes=tuple(told),
            bootstrap_settings={"resamples": resamples, "level": level, "seed": seed, "unit": "patient, else video"},
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        predictions = self.predictions
        per_class = {
            label: {name: plain(value) for name, value in row.items()}
            for label, row in per_class_metrics(predictions).items()
        }
        return {
            "task": predictions.head.task,
            "labels": list(predictions.head.labels),
            "multi_label": predictions.head.multi_label,
            "items": len(predictions),
            "groups": len(set(predictions.groups)),
            "metrics": {name: interval.to_dict() for name, interval in self.metrics.items()},
            "bootstrap": dict(self.bootstrap_settings),
            "per_class": per_class,
            "confusion_matrix": confusion_matrix(predictions),
            "settings": dict(self.settings),
            "notes": [*self.notes, DISCLAIMER],
            "library": {"endofm": __version__},
        }

    def save(self, folder: str | Path, *, pictures: bool = True) -> Path:
        """Write ``report.json``, ``predictions.csv``, and the pictures ``roc.png`` and ``confusion.png``.

        Args:
            folder: Created if missing; the files in it are replaced.
            pictures: Draw the pictures, which need matplotlib.

        Returns:
            The path of ``report.json``.
        """
        folder = Path(folder)
        write_json(folder / REPORT_NAME, self.to_dict())
        _write_predictions(folder / "predictions.csv", self.predictions)
        if pictures:
            from endofm.evaluation.pictures import plot_confusion, plot_roc

            plot_roc(self.predictions, folder / "roc.png")
            plot_confusion(self.predictions, folder / "confusion.png")
        return folder / REPORT_NAME

    def summary(self) -> str:
        """Return the metrics as lines of a table for people."""
        lines = [f"{len(self.predictions)} items of {len(set(self.predictions.groups))} patients or videos"]
        for name, interval in self.metrics.items():
            ends = "" if np.isnan(interval.low) else f"  [{interval.low:.3f}, {interval.high:.3f}]"
            lines.append(f"{name:<18} {interval.value:.3f}{ends}" if not np.isnan(interval.value) else f"{name:<18} -")
        return "\n".join([*lines, *self.notes])


def read_summary(run: str | Path) -> list[str]:
    """Return the metrics of a finished run's report as lines for people, with the report's path first.

    Args:
        run: Folder of the run, with ``report/report.json`` in it; without one there are no lines.
    """
    path = Path(run) / "report" / REPORT_NAME
    if not path.is_file():
        return []
    report = json.loads(path.read_text(encoding="utf-8"))
    lines = [f"report: {path}"]
    for name, row in report["metrics"].items():
        if row["value"] is not None:
            ends = f"  [{row['low']:.3f}, {row['high']:.3f}]" if row.get("low") is not None else ""
            lines.append(f"{name:<18} {row['value']:.3f}{ends}")
    return [*lines, *report["notes"]]


def over_seeds(reports: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return mean and standard deviation (of a sample, n - 1) of every metric over runs with different seeds.

    Args:
        reports: What :meth:`ClassificationReport.to_dict` returned, or the content of the JSON files, of any task.

    Returns:
        For every metric that all of them have: ``mean``, ``sd`` (None for one run), ``runs`` and ``values``.

    Raises:
        InputError: If there are no reports.
    """
    if not reports:
        raise InputError("there are no reports to average over seeds")
    tables = [report["metrics"] for report in reports]
    found = {}
    for name in tables[0]:
        values = [table.get(name, {}).get("value") for table in tables]
        defined = [float(value) for value in values if value is not None]
        if len(defined) == len(tables):
            sd = float(np.std(defined, ddof=1)) if len(defined) > 1 else None
            found[name] = {"mean": float(np.mean(defined)), "sd": sd, "runs": len(defined), "values": defined}
    return found


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write plain values as JSON; the file appears when it is complete."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(values, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def _write_predictions(path: Path, predictions: Predictions) -> None:
    head = predictions.head
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "group", "target", "predicted", *(f"p({label})" for label in head.labels)])
        said = predictions.predicted
        for place, (item, group) in enumerate(zip(predictions.ids, predictions.groups, strict=True)):
            truth, guess = (_words(values[place], head.labels) for values in (predictions.targets, said))
            numbers = [f"{value:.6f}" for value in predictions.probabilities[place]]
            writer.writerow([item, group, truth, guess, *numbers])


def _words(value: Any, labels: Sequence[str]) -> str:
    if np.ndim(value) == 0:
        return labels[int(value)]
    return "+".join(label for label, holds in zip(labels, value, strict=True) if holds)
