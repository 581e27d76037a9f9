"""``endofm app``: a library in the browser."""

from __future__ import annotations

import argparse
from pathlib import Path

from endofm.cli.model_arguments import configure_media
from endofm.cli.printing import say

SUMMARY = "browse and search a library in the browser, mark moments, export them for fine-tuning"
EXAMPLES = ("endofm app archive.lance", "endofm app archive.lance --media recordings/ --port 8000")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("library", type=Path, metavar="LIBRARY", help="folder written by `endofm library add`")
    configure_media(parser)
    parser.add_argument("--weights", help="weights for images (default: by the name that the library states)")
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen at (default: 127.0.0.1, this machine alone; others can see the videos with any other)",
    )
    parser.add_argument("--port", type=int, default=7860, metavar="N", help="port (default: 7860)")
    parser.add_argument("--marks", type=Path, metavar="FILE", help="file of the marks (default: in the library)")


def run(args: argparse.Namespace) -> int:
    """Serve until Ctrl-C."""
    from endofm.app.launch import run_app
    from endofm.errors import InputError

    if not 0 < args.port < 65536:
        raise InputError(f"--port must be an integer from 1 to 65535, got {args.port}")
    say(f"http://{args.host}:{args.port} shows {args.library}; Ctrl-C ends it", error=True)
    run_app(args.library, media=args.media, weights=args.weights, host=args.host, port=args.port, marks=args.marks)
    return 0
