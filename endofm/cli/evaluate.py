"""``endofm evaluate``: scores with intervals, of features and of models."""

from __future__ import annotations

import argparse
import importlib

SUMMARY = "score features and fine-tuned models on labelled videos, with intervals by video"

COMMANDS = (
    ("features", "evaluate_features"),
    ("classification", "evaluate_classification"),
    ("detection", "evaluate_detection"),
)
"""Name on the command line and module of ``endofm.cli`` of each subcommand."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommands."""
    parsers = parser.add_subparsers(dest="evaluate_command", metavar="WHAT", required=True)
    for name, module_name in COMMANDS:
        module = importlib.import_module(f"endofm.cli.{module_name}")
        sub = parsers.add_parser(name, help=module.SUMMARY, description=module.SUMMARY)
        module.configure(sub)
        sub.set_defaults(run_evaluate=module.run)


def run(args: argparse.Namespace) -> int:
    """Run the chosen subcommand."""
    status: int = args.run_evaluate(args)
    return status
