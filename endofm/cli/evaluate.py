"""``endofm evaluate``: scores of features and models, with confidence intervals."""

from __future__ import annotations

import argparse

from endofm.cli.parser import add_commands

SUMMARY = "score features and fine-tuned models on labelled videos, with intervals by video"

COMMANDS = {
    "features": "evaluate_features",
    "classification": "evaluate_classification",
    "detection": "evaluate_detection",
}
"""Module of ``endofm.cli`` of each subcommand."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommands."""
    add_commands(parser, COMMANDS, metavar="WHAT")
