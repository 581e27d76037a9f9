"""Scores in the form that the Hugging Face hub reads from model repositories: ``.eval_results/*.yaml``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from endofm._version import __version__
from endofm.bench.cells import file_name
from endofm.bench.comparison import BenchResult
from endofm.bench.frozen import CONTROLS, UNTRAINED
from endofm.files import write_text

FOLDER = ".eval_results"


def write_hub_results(result: BenchResult, out: Path) -> Iterator[Path]:
    """Write a folder for every encoder but controls, to be copied into its repository.

    Each entry names data set, task and value, and in its notes the interval, the split and the overlap with training
    data. The hub shows an entry where the data set's id is one of the hub; ``hub_dataset`` of the suite states it, and
    the name of the set stands for it otherwise.

    Args:
        result: The comparison.
        out: Folder; files are ``hub/<encoder>/.eval_results/<set>.yaml``.

    Yields:
        The files.
    """
    for spec in result.specs:
        if spec in CONTROLS or spec.startswith(UNTRAINED):
            continue
        for name in result.sets:
            entries = list(_entries(result, spec, name))
            if entries:
                path = out / "hub" / file_name(spec) / FOLDER / f"{name}.yaml"
                write_text(path, yaml.safe_dump(entries, sort_keys=False, allow_unicode=True, width=120))
                yield path


def _entries(result: BenchResult, spec: str, name: str) -> Iterator[dict[str, Any]]:
    scored = result.sets[name]
    for score in scored.cells[spec].scores:
        # A value that is undefined is no result.
        if score.value != score.value:
            continue
        interval = scored.interval(spec, score.name)
        yield {
            "dataset": {"id": scored.config.hub_dataset or name, "task_id": _task_of(score.name, score.metric)},
            "value": round(score.value, 6),
            "notes": f"endofm {__version__}, frozen features: {score.name}, {score.metric} {interval}. Split: "
            f"{scored.config.split}. {scored.overlaps[spec].text}",
        }


def _task_of(score: str, metric: str) -> str:
    return score.lower() if score.lower() == metric else f"{score}-{metric}".lower()
