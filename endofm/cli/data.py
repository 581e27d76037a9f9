"""``endofm data``: prepare, import, export, check, pack and render data sets."""

from __future__ import annotations

import argparse

from endofm.cli.parser import add_commands

SUMMARY = "prepare, import, export, check, pack and render data sets"

COMMANDS = {
    "sets": "data_sets",
    "prepare": "data_prepare",
    "import": "data_import",
    "export": "data_export",
    "check": "data_check",
    "shard": "data_shard",
    "synth": "data_synth",
}
"""Module of ``endofm.cli`` of each subcommand."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommands."""
    add_commands(parser, COMMANDS)
