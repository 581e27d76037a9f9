"""``endofm data``: preparing, checking, packing and rendering data sets."""

from __future__ import annotations

import argparse
import importlib

SUMMARY = "prepare, check, pack and render data sets"

COMMANDS = (
    ("sets", "data_sets"),
    ("prepare", "data_prepare"),
    ("check", "data_check"),
    ("shard", "data_shard"),
    ("synth", "data_synth"),
)
"""Name on the command line and module of ``endofm.cli`` of each subcommand."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommands."""
    parsers = parser.add_subparsers(dest="data_command", metavar="COMMAND", required=True)
    for name, module_name in COMMANDS:
        module = importlib.import_module(f"endofm.cli.{module_name}")
        sub = parsers.add_parser(name, help=module.SUMMARY, description=module.SUMMARY)
        module.configure(sub)
        sub.set_defaults(run_data=module.run)


def run(args: argparse.Namespace) -> int:
    """Run the chosen subcommand."""
    status: int = args.run_data(args)
    return status
