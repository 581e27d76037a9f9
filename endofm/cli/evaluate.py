"""``endofm evaluate``: scores of features and models, with confidence intervals."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from endofm.cli.parser import add_commands
from endofm.task_table import get_task, task_names

SUMMARY = "score features and fine-tuned models on labelled videos, with intervals by patient or video"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare a subcommand for features, and one for every task that can be evaluated."""
    tasks = {task.name: task.evaluation for task in map(get_task, task_names())}
    add_commands(
        parser,
        {"features": "evaluate_features", **{name: module for name, module in tasks.items() if module is not None}},
        metavar="WHAT",
    )


def configure_report(parser: argparse.ArgumentParser, *, resamples: int, files: str) -> None:
    """Declare ``--out`` and ``--resamples``.

    Args:
        parser: Parser of the command.
        resamples: Default number of resamples.
        files: Files in the folder besides ``report.json``.
    """
    parser.add_argument("-o", "--out", type=Path, metavar="DIR", help=f"folder for report.json, {files}")
    parser.add_argument(
        "--resamples", type=int, default=resamples, metavar="N", help=f"bootstrap resamples (default: {resamples})"
    )


def require_seeds(count: int) -> None:
    """Raise InputError unless ``--seeds`` is positive."""
    from endofm.errors import InputError

    if count < 1:
        raise InputError(f"--seeds must be at least 1, got {count}")


def finish_seeds(reports: Sequence[dict[str, Any]], out: Path | None) -> None:
    """Print mean and deviation over seeds, and write them to ``seeds.json``.

    Args:
        reports: Plain values of one report per seed.
        out: Folder of the file; None for none.
    """
    from endofm.evaluation.report import over_seeds, write_json

    table = over_seeds(reports)
    width = max(map(len, table), default=0)
    for name, row in table.items():
        print(f"{name:<{width}} {row['mean']:.3f} +- {row['sd']:.3f}")
    if out is not None:
        write_json(out / "seeds.json", {"metrics": table, "settings": reports[0]["settings"]})
