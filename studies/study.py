"""Parts that all studies share: settings, cells that are run once and kept, and the summary over seeds.

A study compares *arms* over *seeds*. One arm with one seed is a *cell*: it has a folder, whose name changes with every
setting that its result depends on, and ends with a file ``result.json``. A cell with that file is done. Rerunning the
command after an interruption therefore resumes, and further seeds or arms cost only themselves.
"""

from __future__ import annotations

import hashlib
import json
import platform
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import torch

from endofm._version import __version__
from endofm.errors import ConfigError, EndoFMError
from endofm.files import atomic_path
from endofm.pool import WorkerDied, run_tasks
from endofm.progress import progress_bar
from endofm.synthetic.rendered_set import write_set
from endofm.synthetic.set_plan import SetSettings
from endofm.training.config_schema import to_dict

Result = Mapping[str, Any]
"""Content of a cell's ``result.json``, with ``arm`` and ``seed``."""


class Cell(NamedTuple):
    """One run of a study.

    Attributes:
        arm: Name of the arm.
        seed: Seed of the run.
    """

    arm: str
    seed: int


@dataclass(frozen=True, kw_only=True)
class StudySettings:
    """Settings that all studies share.

    Attributes:
        seeds: Seeds of initial weights, data order and views; each is a run of every arm.
    """

    seeds: tuple[int, ...] = (0, 1, 2)

    def __post_init__(self) -> None:
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ConfigError(f"seeds must be different numbers, at least one, got {self.seeds!r}")


class Study(ABC):
    """A comparison of arms.

    Args:
        settings: An instance of ``settings_class``.
        root: Folder of the study.
        media: Folder of real clips, None without one.
    """

    settings_class: ClassVar[type[StudySettings]]

    def __init__(self, settings: Any, root: Path, *, media: Path | None = None) -> None:
        self.settings, self.root, self.media = settings, root, media

    @abstractmethod
    def sets(self) -> Mapping[str, SetSettings]:
        """Return the sets to render, by name of their folder."""

    @abstractmethod
    def arms(self) -> list[str]:
        """Return the names of the arms in the order of the table."""

    @abstractmethod
    def dependencies(self, arm: str) -> Any:
        """Return every setting that the results of an arm depend on, as plain values; the seed aside."""

    @abstractmethod
    def run(self, cell: Cell, folder: Path) -> Result:
        """Train and score a cell, or resume it.

        Args:
            cell: Arm and seed.
            folder: Folder of the cell, for runs that can be resumed.
        """

    @abstractmethod
    def summarize(self, arm: str, results: Sequence[Result]) -> dict[str, Any]:
        """Return the row of an arm over seeds, as plain values."""

    def cells(self) -> list[Cell]:
        """Return all cells."""
        return [Cell(arm, seed) for seed in self.settings.seeds for arm in self.arms()]

    def group(self, cell: Cell) -> str:
        """Return the group of a cell: cells of a group share work, and run in one process one after the other."""
        return f"{cell.arm}-{cell.seed}"

    def comparisons(self, rows: Mapping[str, Any]) -> dict[str, Any]:
        """Return further entries of the summary, made from the rows of all arms."""
        return {}

    @classmethod
    @abstractmethod
    def table(cls, summary: Mapping[str, Any]) -> str:
        """Return the table of a summary as Markdown."""

    @classmethod
    @abstractmethod
    def plot(cls, summary: Mapping[str, Any], path: Path) -> None:
        """Draw a summary."""

    @classmethod
    def facts(cls, summary: Mapping[str, Any]) -> str:
        """Return the conditions of a summary in sentences, for the page of the documentation."""
        return ""

    @classmethod
    def appendix(cls, summary: Mapping[str, Any]) -> list[str]:
        """Return further parts of the page as Markdown."""
        return []

    def folder(self, cell: Cell) -> Path:
        """Return the folder of a cell; other settings have another one."""
        return self.root / "cells" / f"{cell.arm}-{digest(self.dependencies(cell.arm))}" / f"seed-{cell.seed}"

    def result(self, cell: Cell) -> Result | None:
        """Return the result of a finished cell, None if it is not finished."""
        path = self.folder(cell) / "result.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def run_study(study: Study, *, workers: int, command: str) -> tuple[dict[str, Any], int]:
    """Render the sets, run all unfinished cells, and summarise.

    Args:
        study: The study.
        workers: Number of processes.
        command: The command that runs the study, for the summary.

    Returns:
        The summary over seeds, and the number of groups of cells whose process was killed.
    """
    for name, settings in study.sets().items():
        write_set(study.root / name, settings, workers=workers)
    cells = study.cells()
    groups: dict[str, list[Cell]] = {}
    for cell in cells:
        if study.result(cell) is None:
            groups.setdefault(study.group(cell), []).append(cell)
    tasks = [(study, group) for group in groups.values()]
    failed = 0
    with progress_bar(total=len(cells), description="cells", unit="cell") as bar:
        bar.update(len(cells) - sum(len(group) for group in groups.values()))
        # A single worker is this process, which saves importing everything once more.
        done = run_tasks(_run_group, tasks, workers) if workers > 1 else ((task, _run_group(task)) for task in tasks)
        for (_, group), outcome in done:
            bar.update(len(group))
            if isinstance(outcome, WorkerDied):
                failed += 1
                names = ", ".join(f"{cell.arm} with seed {cell.seed}" for cell in group)
                print(f"{names}: the process was killed (out of memory?)", file=sys.stderr)
    results = [result for cell in cells if (result := study.result(cell)) is not None]
    return summarize(study, results, command=command), failed


def summarize(study: Study, results: Sequence[Result], *, command: str) -> dict[str, Any]:
    """Return everything that table, plot and page show, as plain values."""
    rows = {}
    for arm in study.arms():
        of_arm = sorted((result for result in results if result["arm"] == arm), key=lambda result: result["seed"])
        if of_arm:
            rows[arm] = {"seeds": [result["seed"] for result in of_arm], **study.summarize(arm, of_arm)}
    return {
        "version": __version__,
        "torch": torch.__version__,
        "machine": platform.machine(),
        "command": command,
        "config": json.loads(json.dumps(to_dict(study.settings), default=str)),
        "arms": rows,
        **study.comparisons(rows),
    }


def digest(values: Any) -> str:
    """Return a short hash of plain values."""
    text = json.dumps(values, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def require_finished(finished: bool) -> None:
    """Raise if a run was stopped by a signal."""
    if not finished:
        raise EndoFMError("the study was interrupted; rerun the command to resume")


def _run_group(task: tuple[Study, list[Cell]]) -> int:
    study, cells = task
    # Cells run side by side and are compared by CPU seconds: one thread each.
    torch.set_num_threads(1)
    for cell in cells:
        folder = study.folder(cell)
        result = {"arm": cell.arm, "seed": cell.seed, **study.run(cell, folder)}
        with atomic_path(folder / "result.json") as temporary:
            temporary.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return len(cells)
