"""``endofm detect``: boxes of objects in a video, as a table, as COCO JSON, or painted over it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from endofm.cli.model_arguments import configure_work, load_for_work

SUMMARY = "find lesions in a video: boxes per frame, as .json, .csv or painted over the video (.mp4)"
EXAMPLES = ("endofm detect procedure.mp4 -o overlay.mp4 -o boxes.json --weights runs/boxes/export",)

SUFFIXES = (".mp4", ".json", ".csv")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("video", metavar="VIDEO", help="video file, folder of frames, or image")
    parser.add_argument(
        "-o",
        "--out",
        type=Path,
        action="append",
        required=True,
        metavar="FILE",
        help=f"{', '.join(SUFFIXES)}; may be given several times",
    )
    parser.add_argument(
        "--weights", required=True, help="registry name, owner/repo[@revision], folder, .safetensors or .pth file"
    )
    parser.add_argument("--min-score", type=float, default=0.5, metavar="S", help="smallest score (default: 0.5)")
    parser.add_argument("--online", action="store_true", help="use earlier frames only, as with a live video")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="look at every n-th frame (default: 1)")
    parser.add_argument("--no-link", action="store_true", help="do not link boxes into tracks")
    parser.add_argument("--fps", type=float, help="rate of folders of frames, which have no times (default: 30)")
    parser.add_argument(
        "--field-of-view",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="crop to the endoscope's image, leaving out borders and text panels (default: as the weights say)",
    )
    configure_work(parser, batch_size=2, unit="frames")
    parser.add_argument("--quiet", action="store_true", help="no progress bars and no summary")


def run(args: argparse.Namespace) -> int:
    """Find boxes and write every file that was asked for."""
    from endofm import EndoFMForDetection
    from endofm.errors import InputError
    from endofm.video.open import open_video

    for out in args.out:
        if out.suffix.lower() not in SUFFIXES:
            raise InputError(f"{out}: boxes are written as {', '.join(SUFFIXES)}, not {out.suffix!r}")
    fps = args.fps if Path(args.video).is_dir() else None
    # Opened before the model is loaded: a wrong path is told at once.
    with open_video(args.video, fps=fps) as source:
        model = load_for_work(EndoFMForDetection, args)
        found = model.predict(
            source,
            min_score=args.min_score,
            online=args.online,
            frame_stride=args.every,
            link=not args.no_link,
            batch_size=args.batch_size,
            field_of_view=args.field_of_view,
            progress=not args.quiet,
        )
        notes = list(source.problems)
        for out in args.out:
            if out.suffix.lower() == ".mp4":
                notes += found.paint(source, out, progress=not args.quiet).problems
            else:
                found.save(out)
    for note in dict.fromkeys(notes):
        print(f"endofm: note: {args.video}: {note}", file=sys.stderr)
    if not args.quiet:
        boxes, seen = sum(len(frame) for frame in found), sum(len(frame) > 0 for frame in found)
        tracks = "" if args.no_link else f", {len(found.tracks())} tracks"
        print(
            f"{boxes} boxes in {seen} of {len(found)} frames{tracks}; written to "
            f"{', '.join(str(out) for out in args.out)}"
        )
        print("Research software, not for diagnosis.")
        if not model.config.trained:
            print("The weights are random: these boxes mean nothing.")
    return 0
