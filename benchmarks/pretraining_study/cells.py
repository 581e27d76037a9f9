"""One cell of the study: an arm with a seed, trained and scored; a finished cell is kept."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from budget import Budget, make_loader, make_parts, spend
from scoring import Labelled, encoder_features, score, thumbnail_features
from settings import PIXELS, SCRATCH, StudyConfig

from endofm.files import atomic_path
from endofm.training.engine.fit import fit
from endofm.training.engine.random_state import seed_all
from endofm.training.objectives.pretraining_task import Start
from endofm.training.run_config import RunConfig


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
        return self.root / "cells" / f"{self.arm}-{self.study.fingerprint(self.arm)}" / f"seed-{self.seed}"

    def result(self) -> dict[str, Any] | None:
        """Return the result of a finished cell."""
        path = self.folder / "result.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def budget_of(cell: Cell) -> Budget:
    """Return the budget of the cell's arm, counted once."""
    path = cell.folder.parent / "budget.json"
    if not path.exists():
        _write(path, asdict(spend(cell.study, cell.arm, cell.root / "pretrain")))
    return Budget(**json.loads(path.read_text(encoding="utf-8")))


def run_cell(cell: Cell) -> dict[str, Any]:
    """Train and score; go on with a run that was stopped."""
    done = cell.result()
    if done is not None:
        return done
    torch.set_num_threads(1)
    study, labelled = cell.study, Labelled(cell.study, cell.root / "labelled")
    trained: dict[str, Any] = {}
    if cell.arm == PIXELS:
        features = thumbnail_features(labelled.clips)
    elif cell.arm == SCRATCH:
        seed_all(cell.seed)
        features = encoder_features(Start(model=study.model()).make_encoder(), labelled.clips)
    else:
        encoder, trained = _train(cell)
        features = encoder_features(encoder, labelled.clips)
    spread = (features / (features**2).sum(1, keepdims=True) ** 0.5).std(0)
    result = {
        "arm": cell.arm,
        "seed": cell.seed,
        "scores": score(study, labelled.with_features(features)),
        # Root mean square distance of unit-length features from their mean: 0 is a collapse.
        "feature_spread": float((spread**2).sum() ** 0.5),
        **trained,
    }
    _write(cell.folder / "result.json", result)
    return result


def _train(cell: Cell) -> tuple[torch.nn.Module, dict[str, Any]]:
    study, budget = cell.study, budget_of(cell)
    seed_all(cell.seed)
    parts = make_parts(study, cell.arm, budget.epochs)
    run = RunConfig(
        epochs=budget.epochs,
        max_steps=budget.steps,
        batch_size=study.batch_size,
        precision=study.precision,
        accelerator="cpu",
        num_workers=0,
        seed=cell.seed,
        checkpoint_every_epochs=max(budget.epochs // 5, 1),
        keep=1,
        loggers=("csv",),
        on_unhealthy="warn",
    )
    clock, cpu = time.perf_counter(), time.process_time()
    outcome = fit(
        parts.task,
        lambda share: make_loader(study, parts, cell.root / "pretrain", cell.seed),
        run,
        cell.folder / "run",
        progress=False,
    )
    return parts.task.encoder, {
        "steps": outcome.step,
        "epochs": budget.epochs,
        "clips": outcome.step * study.batch_size,
        "tflop": outcome.step * budget.tflop_per_step,
        # Of this process's part of the run; of all of it unless the run was stopped and taken up again.
        "cpu_seconds": time.process_time() - cpu,
        "wall_seconds": time.perf_counter() - clock,
        "last": {name: round(value, 5) for name, value in sorted(outcome.metrics.items())},
    }


def _write(path: Path, values: dict[str, Any]) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
