"""``endofm pretrain``: self-supervised pre-training, from clips to a model folder."""

from __future__ import annotations

import argparse
from pathlib import Path

from endofm.cli.parser import offer_names
from endofm.training.configs import config_names

SUMMARY = "pre-train an encoder on your clips; rerun the command to resume"
EXAMPLES = (
    "endofm pretrain nano --out runs/mine data.clips=prepared",
    "endofm pretrain nano data.clips=prepared --dry-run",
    "endofm pretrain --settings",
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    names = config_names()
    config = parser.add_argument(
        "config", metavar="CONFIG", nargs="?", help=f"YAML file, or a configuration of the package: {', '.join(names)}"
    )
    offer_names(config, lambda: names)
    parser.add_argument(
        "settings", metavar="KEY=VALUE", nargs="*", help="settings that override the file, e.g. run.epochs=30"
    )
    parser.add_argument(
        "--out", metavar="FOLDER", help="folder of the run, which resumes if it was interrupted (default: runs/CONFIG)"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="do a few steps, print what the run would take, and keep nothing"
    )
    parser.add_argument("--settings", action="store_true", dest="list_settings", help="list all settings and exit")


def run(args: argparse.Namespace) -> int:
    """Pre-train; the status is 130 if the run was interrupted, and 143 if it was terminated."""
    from endofm.errors import ConfigError, require_extra

    require_extra("yaml", "train", "Pre-training")
    from endofm.training.config_files import load_config
    from endofm.training.configs import find_config
    from endofm.training.pretrain_config import PretrainConfig
    from endofm.training.settings_table import settings_table

    if args.list_settings:
        print(settings_table(PretrainConfig))
        return 0
    if args.config is None:
        raise ConfigError(f"give a configuration: a YAML file, or one of {', '.join(config_names())}")
    file = find_config(args.config)
    config = load_config(PretrainConfig, file, args.settings)
    # Imported after the settings have been checked: torch and Lightning take seconds.
    require_extra("lightning_fabric", "train", "Pre-training")
    if args.dry_run:
        from endofm.training.pretrain_estimate import estimate_pretraining

        print(*estimate_pretraining(config).lines(), sep="\n")
        return 0
    from endofm.training.pretrain import pretrain

    result = pretrain(config, args.out or Path("runs") / file.stem)
    return result.exit_status
