"""Evaluation reports: metrics with confidence intervals, settings and notes; as JSON, CSV tables and pictures.

A task derives its report from :class:`Report` and adds only its details, its tables and its pictures.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from endofm._version import __version__
from endofm.csv_text import write_table
from endofm.disclaimer import DISCLAIMER
from endofm.errors import InputError, visible
from endofm.evaluation.bootstrap import BootstrapSettings, Interval, Statistic, bootstrap
from endofm.files import atomic_path
from endofm.json_text import read_json

REPORT_NAME = "report.json"
REPORT_FOLDER = "report"
"""Folder of the report in the folder of a fine-tuning run."""

# Percentile intervals of the cluster bootstrap undercover with few clusters; below this number a note says so.
_FEW_GROUPS = 20


@dataclass(frozen=True, eq=False, kw_only=True)
class Report(ABC):
    """Scores of a model on a labelled set.

    Attributes:
        metrics: Every metric of the task with its interval.
        settings: How the predictions were made, plain values.
        notes: What a reader has to know, one sentence each.
        bootstrap: Settings of the intervals.
        task: Name of the task.
    """

    metrics: Mapping[str, Interval]
    settings: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    bootstrap: BootstrapSettings = field(default_factory=BootstrapSettings)
    task: ClassVar[str]

    @abstractmethod
    def heading(self) -> str:
        """Return what was scored, as one line."""

    @abstractmethod
    def details(self) -> dict[str, Any]:
        """Return what the JSON file holds besides the metrics, plain values."""

    @abstractmethod
    def tables(self) -> Mapping[str, Iterable[Sequence[object]]]:
        """Return the CSV tables by file name, each as rows with a header row first."""

    @abstractmethod
    def draw(self, folder: Path) -> None:
        """Write the pictures of the report to a folder that exists."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "task": self.task,
            **self.details(),
            "metrics": {name: interval.to_dict() for name, interval in self.metrics.items()},
            "bootstrap": self.bootstrap.to_dict(),
            "settings": dict(self.settings),
            "notes": [*self.notes, DISCLAIMER],
            "library": {"endofm": __version__},
        }

    def save(self, folder: str | Path, *, pictures: bool = True) -> Path:
        """Write ``report.json``, the tables and the pictures.

        Args:
            folder: Created if missing; the report's files in it are replaced.
            pictures: Draw the pictures, which may need matplotlib and the images of the set.

        Returns:
            The path of ``report.json``.
        """
        folder = Path(folder)
        for name, rows in self.tables().items():
            with atomic_path(folder / name) as temporary:
                write_table(temporary, rows)
        # After the tables, so that a report.json means complete numbers; before the pictures, so that a missing
        # matplotlib costs no numbers.
        write_json(folder / REPORT_NAME, self.to_dict())
        if pictures:
            self.draw(folder)
        return folder / REPORT_NAME

    def summary(self) -> str:
        """Return heading, metrics and notes as lines for a terminal."""
        width = max(map(len, self.metrics), default=0)
        lines = [f"{name:<{width}} {interval}" for name, interval in self.metrics.items()]
        return "\n".join(map(visible, [self.heading(), *lines, *self.notes]))


def score(
    statistic: Statistic,
    groups: Sequence[str],
    *,
    settings: Mapping[str, Any] | None,
    notes: Sequence[str],
    bootstrap_settings: BootstrapSettings | None,
) -> dict[str, Any]:
    """Compute metrics and intervals, and return the fields that all reports share.

    Args:
        statistic: Computes the metrics over some items.
        groups: Patient or video of every item.
        settings: How the predictions were made, plain values.
        notes: What a reader has to know. A note on intervals that rest on few groups is added.
        bootstrap_settings: Settings of the intervals.
    """
    bootstrap_settings = bootstrap_settings or BootstrapSettings()
    count = len(set(groups))
    few = bootstrap_settings.resamples and count < _FEW_GROUPS
    warning = [f"The intervals rest on {count} patients or videos only and are likely too narrow."] if few else []
    return {
        "metrics": bootstrap(statistic, groups, bootstrap_settings),
        "settings": dict(settings or {}),
        "notes": (*notes, *warning),
        "bootstrap": bootstrap_settings,
    }


def read_summary(run: str | Path) -> list[str]:
    """Return the report of a finished run as lines for a terminal, the path of the report first.

    Args:
        run: Folder of the run, with ``report/report.json`` in it; without one there are no lines.
    """
    path = Path(run) / REPORT_FOLDER / REPORT_NAME
    if not path.is_file():
        return []
    report = read_json(path)
    rows = {name: row for name, row in report["metrics"].items() if row["value"] is not None}
    width = max(map(len, rows), default=0)
    lines = [f"report: {path}"]
    for name, row in rows.items():
        ends = {end: float("nan") if row.get(end) is None else row[end] for end in ("low", "high")}
        lines.append(f"{name:<{width}} {Interval(value=row['value'], **ends)}")
    return [*lines, *report["notes"]]


def over_seeds(reports: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return mean and standard deviation (of a sample, n - 1) of every metric over runs with different seeds.

    Args:
        reports: Results of :meth:`Report.to_dict`, or the content of the JSON files, of any task.

    Returns:
        For every metric that is defined in all reports: ``mean``, ``sd`` (None for one run), ``runs`` and ``values``.

    Raises:
        InputError: If there are no reports.
    """
    if not reports:
        raise InputError("there are no reports to average over seeds")
    tables = [report["metrics"] for report in reports]
    averaged = {}
    for name in tables[0]:
        values = [table.get(name, {}).get("value") for table in tables]
        defined = [float(value) for value in values if value is not None]
        # A mean over the seeds in which a metric happens to be defined would compare unlike things.
        if len(defined) == len(tables):
            sd = float(np.std(defined, ddof=1)) if len(defined) > 1 else None
            averaged[name] = {"mean": float(np.mean(defined)), "sd": sd, "runs": len(defined), "values": defined}
    return averaged


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write plain values as JSON; the file appears when it is complete."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(values, indent=2, allow_nan=False) + "\n", encoding="utf-8")
