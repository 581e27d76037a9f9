"""``endofm visualize``: pictures of what an encoder makes of single frames."""

from __future__ import annotations

import argparse

from endofm.cli.parser import add_commands

SUMMARY = "paint where an encoder attends, or which patches it takes for similar"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare a subcommand for each kind of picture."""
    add_commands(parser, {"attention": "visualize_attention", "pca": "visualize_pca"}, metavar="WHAT")
