"""``endofm visualize pca``: frames coloured by the principal components of their patch tokens."""

from __future__ import annotations

import argparse

from endofm.cli.visualize_frames import configure_frames, draw_frames

SUMMARY = "colour the patches of frames by their first three principal components (every encoder)"
EXAMPLES = ("endofm visualize pca procedure.mp4 --time 0:12 --time 1:05 -o patches.png",)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    configure_frames(parser)


def run(args: argparse.Namespace) -> int:
    """Write the picture."""
    from endofm.visualize.token_pictures import pca_pictures

    return draw_frames(args, pca_pictures)
