"""One cell of the study: an arm with a seed, pre-trained, fine-tuned and judged; a finished cell is kept."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from detection_settings import StudyConfig

from endofm.errors import EndoFMError
from endofm.evaluation.report import REPORT_FOLDER
from endofm.files import atomic_path
from endofm.training.config_schema import to_dict
from endofm.training.finetune.detection_recipe import RECIPE, UNREFINED_FOLDER
from endofm.training.finetune.run import finetune
from endofm.training.pretrain import pretrain


@dataclass(frozen=True)
class Cell:
    """A run to be done.

    Attributes:
        study: The study.
        root: Folder of the study.
        arm: Name of the arm.
        seed: Seed of the run.
    """

    study: StudyConfig
    root: Path
    arm: str
    seed: int

    @property
    def folder(self) -> Path:
        """Folder of the cell; another configuration has another one."""
        study = self.study
        parts = [to_dict(study.arms[self.arm]), study.size, study.channels, study.tower_depth, study.epochs]
        mark = study.fingerprint(*parts, study.batch_size, study.learning_rate, study.every)
        return self.root / "cells" / f"{self.arm}-{mark}" / f"seed-{self.seed}"

    @property
    def encoder_folder(self) -> Path | None:
        """Folder of the pre-training run, which arms with the same objective share; None for random weights."""
        objective = self.study.arms[self.arm].pretrain
        if objective is None:
            return None
        mark = self.study.fingerprint(to_dict(objective))
        return self.root / "encoders" / f"{objective.name}-{mark}" / f"seed-{self.seed}"

    def result(self) -> dict[str, Any] | None:
        """Return the result of a finished cell."""
        path = self.folder / "result.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def run_cell(cell: Cell) -> dict[str, Any]:
    """Pre-train unless that is done, fine-tune and judge; go on with a run that was stopped."""
    done = cell.result()
    if done is not None:
        return done
    torch.set_num_threads(1)
    clock, cpu = time.perf_counter(), time.process_time()
    arm, encoder = cell.study.arms[cell.arm], cell.encoder_folder
    if encoder is not None and arm.pretrain is not None:
        config = cell.study.pretraining(arm.pretrain, cell.root / "pretrain", cell.seed)
        _require_finished(pretrain(config, encoder, progress=False).finished)
    start = None if encoder is None else encoder / "export"
    run = cell.folder / "run"
    config = cell.study.fine_tuning(arm, cell.root / "boxes", start, cell.seed)
    outcome = finetune(RECIPE, config, run, progress=False)
    _require_finished(outcome.finished)
    reports = {name: _metrics(run / folder) for name, folder in _REPORTS.items()}
    result = {
        "arm": cell.arm,
        "seed": cell.seed,
        "scores": reports,
        "steps": outcome.step,
        # Of this process's part of the run; of all of it unless it was stopped and taken up again.
        "cpu_seconds": time.process_time() - cpu,
        "wall_seconds": time.perf_counter() - clock,
    }
    with atomic_path(cell.folder / "result.json") as temporary:
        temporary.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    shutil.rmtree(run / "checkpoints", ignore_errors=True)
    return result


_REPORTS = {"refined": REPORT_FOLDER, "unrefined": UNREFINED_FOLDER}


def _metrics(folder: Path) -> dict[str, float | None]:
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    return {name: row["value"] for name, row in report["metrics"].items()}


def _require_finished(finished: bool) -> None:
    if not finished:
        raise EndoFMError("the study was interrupted; the same command goes on")
