"""``endofm finetune``: from labelled videos to a model for a task."""

from __future__ import annotations

import argparse
from pathlib import Path

from endofm.cli.parser import examples_text, offer_names
from endofm.cli.printing import say
from endofm.task_table import Task, get_task, task_names
from endofm.training.finetune.configs import config_names

SUMMARY = "fine-tune a model for a task on labelled videos; rerun the command to resume"
EXAMPLES = (
    "endofm finetune classification nano --out runs/polyps data.train=polyps",
    "endofm finetune segmentation nano --out runs/masks data.train=masks",
    "endofm finetune detection nano --out runs/boxes data.root=boxes",
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare a subcommand for every task that can be fine-tuned."""
    parsers = parser.add_subparsers(metavar="TASK", required=True, prog=parser.prog)
    for task in map(get_task, task_names()):
        if task.finetuning is not None:
            summary = f"fine-tune a model for {task.name}: a new head, adapters or all parameters"
            own = [line for line in EXAMPLES if f" {task.name} " in line]
            epilog = examples_text([*own, f"endofm finetune {task.name} --settings"])
            sub = parsers.add_parser(task.name, help=summary, description=summary, epilog=epilog)
            sub.set_defaults(run=run, task=task.name)
            _configure_task(sub, config_names(task.name))


def _configure_task(parser: argparse.ArgumentParser, presets: list[str]) -> None:
    known = f", or a configuration of the package: {', '.join(presets)}" if presets else ""
    config = parser.add_argument("config", metavar="CONFIG", nargs="?", help=f"YAML file{known}")
    offer_names(config, lambda: presets)
    parser.add_argument(
        "settings", metavar="KEY=VALUE", nargs="*", help="settings that override the file's, e.g. transfer=lora"
    )
    parser.add_argument(
        "--out", metavar="FOLDER", help="folder of the run; an interrupted run is resumed (default: runs/CONFIG)"
    )
    parser.add_argument("--settings", action="store_true", dest="list_settings", help="list all settings and exit")


def run(args: argparse.Namespace) -> int:
    """Fine-tune; the exit status is 130 if the run was interrupted, and 143 if it was terminated."""
    from endofm.errors import ConfigError, require_extra

    require_extra("yaml", "train", "Fine-tuning")
    from endofm.training.config_files import load_config
    from endofm.training.finetune.configs import find_config
    from endofm.training.settings_table import settings_table

    task = get_task(args.task)
    config_class = task.load("finetuning_config")
    if args.list_settings:
        print(settings_table(config_class))
        return 0
    if args.config is None:
        raise ConfigError(f"give a configuration: a YAML file, or one of {', '.join(config_names(task.name))}")
    file = find_config(task.name, args.config)
    config = load_config(config_class, file, args.settings)
    return _finetune(task, config, Path(args.out) if args.out else Path("runs") / file.stem)


def _finetune(task: Task, config: object, folder: Path) -> int:
    # Imported after the settings have been checked: torch, Lightning and scikit-learn take seconds.
    from endofm.errors import require_extra

    for module in ("lightning_fabric", "torchmetrics", "sklearn"):
        require_extra(module, "train", "Fine-tuning")
    from endofm.evaluation.report import read_summary
    from endofm.training.finetune.run import finetune

    result = finetune(task.load("finetuning"), config, folder)
    for line in read_summary(result.folder) if result.finished else []:
        say(line)
    return result.exit_status
