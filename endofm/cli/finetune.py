"""``endofm finetune``: from labelled videos to a model for a task."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

SUMMARY = "fine-tune a model for a task on labelled videos; rerun the command to resume"
EXAMPLES = (
    "endofm finetune classification nano --out runs/polyps data.train=polyps",
    "endofm finetune segmentation nano --out runs/masks data.train=masks",
    "endofm finetune detection nano --out runs/boxes data.root=boxes",
    "endofm finetune classification --settings",
)

COMMANDS = (
    ("classification", "finetune_classification"),
    ("detection", "finetune_detection"),
    ("segmentation", "finetune_segmentation"),
)
"""Task and module of ``endofm.cli`` of each subcommand."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the tasks."""
    parsers = parser.add_subparsers(dest="finetune_task", metavar="TASK", required=True)
    for name, module_name in COMMANDS:
        module = importlib.import_module(f"endofm.cli.{module_name}")
        sub = parsers.add_parser(name, help=module.SUMMARY, description=module.SUMMARY)
        configure_task(sub)
        sub.set_defaults(run_finetune=module.run)


def configure_task(parser: argparse.ArgumentParser) -> None:
    """Declare what all tasks take."""
    parser.add_argument(
        "config", metavar="CONFIG", nargs="?", help="YAML file, or the name of a configuration of the package"
    )
    parser.add_argument(
        "settings", metavar="KEY=VALUE", nargs="*", help="settings that win over the file's, e.g. transfer=lora"
    )
    parser.add_argument(
        "--out", metavar="FOLDER", help="folder of the run; a stopped run is taken up there (default: runs/CONFIG)"
    )
    parser.add_argument("--settings", action="store_true", dest="list_settings", help="list all settings and stop")


def run(args: argparse.Namespace) -> int:
    """Run the chosen task."""
    status: int = args.run_finetune(args)
    return status


def run_task(args: argparse.Namespace, task: str, config_class: type[Any], work: Callable[[Any, Path], Any]) -> int:
    """Read the configuration and do the run; for the modules of the tasks.

    Args:
        args: What :func:`configure_task` declared.
        task: Name of the task.
        config_class: Dataclass of its settings.
        work: Does the run in a folder.

    Returns:
        Exit status: 130 if the run was interrupted, and 143 if it was terminated.
    """
    from endofm.errors import ConfigError
    from endofm.evaluation.report import read_summary
    from endofm.training.config_files import load_config
    from endofm.training.finetune.configs import config_names, find_config
    from endofm.training.settings_table import settings_table

    if args.list_settings:
        print(settings_table(config_class))
        return 0

    if args.config is None:
        raise ConfigError(f"give a configuration: a YAML file, or one of {', '.join(config_names(task))}")
    file = find_config(task, args.config)
    config = load_config(config_class, file, args.settings)
    result = work(config, Path(args.out) if args.out else Path("runs") / file.stem)
    for line in read_summary(result.folder) if result.finished else []:
        print(line)
    status: int = result.exit_status
    return status
