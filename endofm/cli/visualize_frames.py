"""Arguments and work of the commands that draw frames of one video beside a picture of each."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from endofm.cli.model_arguments import configure_source, configure_weights, configure_work, load_for_work
from endofm.cli.printing import say
from endofm.disclaimer import DISCLAIMER

if TYPE_CHECKING:
    from endofm.visualize.token_pictures import TokenPicture

PACKAGED_WEIGHTS = "endofm-nano-4x96"
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")

_DEFAULT_FRAMES = 4


def configure_frames(parser: argparse.ArgumentParser) -> None:
    """Declare the video, the times, the output and the model."""
    parser.add_argument("video", metavar="VIDEO", help="video, still image or folder of frames")
    parser.add_argument(
        "--time",
        action="append",
        default=[],
        metavar="TIME",
        help=f"seconds, M:SS or H:MM:SS; may be repeated (default: {_DEFAULT_FRAMES} times spread over the video)",
    )
    parser.add_argument("-o", "--out", required=True, type=Path, metavar="FILE", help=f"{', '.join(SUFFIXES)} to write")
    parser.set_defaults(file_outputs=SUFFIXES)
    configure_weights(parser, default=PACKAGED_WEIGHTS)
    configure_source(parser)
    parser.add_argument(
        "--window-seconds", type=float, metavar="SECONDS", help="clip around a frame (default: as the weights specify)"
    )
    configure_work(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace an existing file")


def draw_frames(args: argparse.Namespace, draw: Callable[..., list[TokenPicture]]) -> int:
    """Draw the frames of :func:`configure_frames` and write them as one picture.

    Args:
        args: The arguments.
        draw: Function of :mod:`endofm.visualize.token_pictures` that draws them.
    """
    from endofm.arguments import clock_argument
    from endofm.errors import InputError
    from endofm.tasks.features.model import VideoEncoder
    from endofm.video.open import open_video
    from endofm.visualize.token_pictures import save_sheet

    times = [clock_argument(text, "--time") for text in args.time]
    if args.out.suffix.lower() not in SUFFIXES:
        raise InputError(f"{args.out}: pictures are written as {', '.join(SUFFIXES)}")
    if args.out.exists() and not args.overwrite:
        raise InputError(f"{args.out} exists already; pass --overwrite to replace it")
    args.weights = args.weights or PACKAGED_WEIGHTS
    model = load_for_work(VideoEncoder, args)
    with open_video(args.video, fps=args.fps) as source:
        if not times:
            end = source.end_seconds()
            times = [end * (number + 0.5) / _DEFAULT_FRAMES for number in range(_DEFAULT_FRAMES)]
        pictures = draw(model, source, times, window_seconds=args.window_seconds, field_of_view=args.field_of_view)
        problems = source.problems
    save_sheet(pictures, args.out)
    for problem in problems:
        say(f"endofm: note: {args.video}: {problem}", error=True)
    say(f"{len(pictures)} frames; written to {args.out}")
    if not model.config.trained:
        print("The weights are random: this picture means nothing.")
    print(DISCLAIMER)
    return 0
