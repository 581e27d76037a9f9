"""Runs with several seeds, one after the other."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import torch.distributed as dist

from endofm.evaluation.report import REPORT_NAME, over_seeds, write_json
from endofm.training.engine.fit import RunResult

SEEDS_NAME = "seeds.json"
REPORT_FOLDER = "report"

_Config = TypeVar("_Config", bound=Any)


def run_seeds(config: _Config, folder: str | Path, run: Callable[[_Config, Path], RunResult]) -> RunResult:
    """Do one run, or one per seed of ``config.seeds``, and average what they report.

    Each seed has its folder ``seed-N``; runs that are finished are passed over, so the same call goes on. At the end
    ``seeds.json`` has mean and standard deviation of every metric that all reports have.

    Args:
        config: Settings with the fields ``seeds`` and ``run``.
        folder: Folder of the run or the runs.
        run: Does one run in a folder of its own; writes ``report/report.json`` when it is finished.

    Returns:
        How the run ended; with several seeds, the first that was stopped, else the last.
    """
    folder = Path(folder)
    if not config.seeds:
        return run(config, folder)
    result: RunResult | None = None
    for seed in config.seeds:
        one = replace(config, seeds=(), run=replace(config.run, seed=seed))
        result = run(one, folder / f"seed-{seed}")
        if not result.finished:
            return result
    assert result is not None
    if is_first_process():
        files = [folder / f"seed-{seed}" / REPORT_FOLDER / REPORT_NAME for seed in config.seeds]
        reports = [json.loads(file.read_text(encoding="utf-8")) for file in files]
        write_json(folder / SEEDS_NAME, {"seeds": list(config.seeds), "metrics": over_seeds(reports)})
    return result


def is_first_process() -> bool:
    """Return whether this process writes what is written once."""
    return not dist.is_initialized() or dist.get_rank() == 0
