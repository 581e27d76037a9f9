"""``endofm library``: a searchable library of procedures from feature files."""

from __future__ import annotations

import argparse

from endofm.cli.parser import add_commands

SUMMARY = "collect features of many procedures in a searchable library"
EXAMPLES = (
    "endofm library add features/ -o archive.lance",
    "endofm library info archive.lance",
)

COMMANDS = {"add": "library_add", "info": "library_info"}
"""Module of ``endofm.cli`` of each subcommand."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommands."""
    add_commands(parser, COMMANDS)
