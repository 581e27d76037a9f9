"""Tracked results of the study: a row per finished cell, and next to it the score of every item for paired comparisons.

Both files have a line per cell, so that a change shows what was added. Several processes may add cells.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub.utils import WeakFileLock  # type: ignore[attr-defined]  # exported without __all__

from endofm._version import __version__
from endofm.files import write_text
from endofm.json_text import read_json
from studies.real_study.plan import Cell, StudyPlan


@dataclass(frozen=True, kw_only=True)
class CellResult:
    """A finished cell.

    Attributes:
        cell: The cell.
        digest: Hash of the settings that it was run with; see :meth:`~studies.plan.StudyPlan.digest`.
        score: Score on the part ``val``.
        low: Lower end of its interval over groups of items.
        high: Upper end.
        labels: Items that were trained on.
        seconds: Seconds of one core for the fine-tuning.
        pretraining_seconds: Seconds of one core for all stages of its pre-training.
        values: Score of every item of the part ``val``, or the probability of its second class.
    """

    cell: Cell
    digest: str
    score: float
    low: float | None
    high: float | None
    labels: int
    seconds: float
    pretraining_seconds: float
    values: tuple[float, ...]

    def row(self) -> dict[str, Any]:
        """Return the row of the table."""
        names = ("digest", "score", "low", "high", "labels", "seconds", "pretraining_seconds")
        return {**self.cell._asdict(), **{name: getattr(self, name) for name in names}}


@dataclass(frozen=True, kw_only=True)
class ScoredItems:
    """The items of a task that are scored.

    Attributes:
        groups: Group of every item.
        positive: Whether it is of the second class; empty where the score of an item is a number of its own.
    """

    groups: tuple[str, ...]
    positive: tuple[bool, ...] = ()


class KeptResults:
    """Results in files.

    Args:
        path: File of the rows; the scores of items are in a file of the same name with ``-items``.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.items_path = path, path.with_name(f"{path.stem}-items.json")

    def tasks(self) -> dict[str, ScoredItems]:
        """Return the scored items by task."""
        kept = read_json(self.items_path)["tasks"] if self.items_path.is_file() else {}
        return {
            task: ScoredItems(groups=tuple(row["groups"]), positive=tuple(map(bool, row["positive"])))
            for task, row in kept.items()
        }

    def cells(self) -> list[CellResult]:
        """Return all finished cells."""
        if not self.path.is_file():
            return []
        values = read_json(self.items_path)["cells"]
        found = []
        for row in read_json(self.path)["cells"]:
            cell = Cell(*(row.pop(name) for name in Cell._fields))
            found.append(CellResult(cell=cell, **row, values=tuple(values[cell.name])))
        return found

    def of_plan(self, plan: StudyPlan) -> list[CellResult]:
        """Return the finished cells that belong to a plan, in its order; those of other settings are left out."""
        order = {cell: place for place, cell in enumerate(plan.cells())}
        known = [result for result in self.cells() if result.cell in order]
        current = [result for result in known if result.digest == plan.digest(result.cell)]
        return sorted(current, key=lambda result: order[result.cell])

    def add(self, result: CellResult, items: ScoredItems) -> None:
        """Add a cell, or replace an older result of it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with WeakFileLock(self.path.with_suffix(".lock"), timeout=60.0):
            cells = [kept for kept in self.cells() if kept.cell != result.cell]
            cells = sorted([*cells, result], key=lambda kept: kept.cell)
            tasks = {**self.tasks(), result.cell.task: items}
            # Values first: a row without its values would be unreadable.
            write_text(
                self.items_path,
                _lines(
                    {
                        "tasks": {
                            task: {"groups": own.groups, "positive": [int(value) for value in own.positive]}
                            for task, own in sorted(tasks.items())
                        },
                        "cells": {kept.cell.name: [float(f"{value:.6g}") for value in kept.values] for kept in cells},
                    }
                ),
            )
            write_text(self.path, _lines({"version": __version__, "cells": [kept.row() for kept in cells]}))
        self.path.with_suffix(".lock").unlink(missing_ok=True)


def _lines(values: Mapping[str, Any]) -> str:
    """Return JSON with a line for every entry of every list and table at the second level."""
    parts = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            inner = ",\n".join(f"{json.dumps(key)}: {json.dumps(entry)}" for key, entry in value.items())
            text = f"{{\n{inner}\n}}"
        elif isinstance(value, Sequence) and not isinstance(value, str):
            text = "[\n" + ",\n".join(json.dumps(entry) for entry in value) + "\n]"
        else:
            text = json.dumps(value)
        parts.append(f"{json.dumps(name)}: {text}")
    return "{\n" + ",\n".join(parts) + "\n}\n"
