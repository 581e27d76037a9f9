"""``endofm visualize attention``: where the class token of an encoder attends."""

from __future__ import annotations

import argparse

from endofm.cli.visualize_frames import configure_frames, draw_frames

SUMMARY = "paint the attention of the last block over frames (encoders of the Endo-FM family)"
EXAMPLES = ("endofm visualize attention procedure.mp4 --time 0:12 --time 1:05 -o attention.png",)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    configure_frames(parser)


def run(args: argparse.Namespace) -> int:
    """Write the picture."""
    from endofm.visualize.token_pictures import attention_pictures

    return draw_frames(args, attention_pictures)
