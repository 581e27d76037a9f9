"""``endofm segment``: masks of a video, painted over it or as files."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from endofm.cli.model_arguments import configure_work, load_for_work

SUMMARY = "segment a video: masks painted over it (.mp4), as COCO run lengths (.json), or a folder of indexed PNG files"
EXAMPLES = ("endofm segment procedure.mp4 -o overlay.mp4 --weights runs/masks/export",)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("video", metavar="VIDEO", help="video file, folder of frames, or image")
    parser.add_argument(
        "-o", "--out", required=True, type=Path, metavar="OUT", help="overlay.mp4, masks.json or a folder"
    )
    parser.add_argument(
        "--weights", required=True, help="registry name, owner/repo[@revision], folder, .safetensors or .pth file"
    )
    windows = parser.add_argument_group("windows")
    windows.add_argument("--num-frames", type=int, metavar="N", help="looked at together (default: as the weights say)")
    windows.add_argument(
        "--overlap", type=int, metavar="N", help="frames that windows share, blended (default: a quarter of them)"
    )
    windows.add_argument(
        "--frame-stride", type=int, default=1, metavar="N", help="segment every n-th frame (default: 1)"
    )
    parser.add_argument("--fps", type=float, help="rate of folders of frames, which have no times (default: 30)")
    parser.add_argument(
        "--field-of-view",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="crop to the endoscope's image, leaving out borders and text panels (default: as the weights say)",
    )
    parser.add_argument(
        "--opacity", type=float, default=0.4, metavar="SHARE", help="of the colour inside masks (default: 0.4)"
    )
    configure_work(parser, batch_size=1, unit="windows")
    parser.add_argument("--force", action="store_true", help="replace the output file if it exists")
    parser.add_argument("--quiet", action="store_true", help="no progress bar and no summary")


def run(args: argparse.Namespace) -> int:
    """Segment one video."""
    from endofm.errors import InputError
    from endofm.tasks.segmentation.files import require_target
    from endofm.tasks.segmentation.model import EndoFMForSegmentation
    from endofm.video.open import open_video

    painted = args.out.suffix.lower() == ".mp4"
    if not painted:
        require_target(args.out)
    if args.out.is_file() and not args.force:
        raise InputError(f"{args.out} exists already; pass --force to replace it")
    with open_video(args.video, fps=args.fps) as source:
        model = load_for_work(EndoFMForSegmentation, args)
        options: dict[str, Any] = {
            "num_frames": args.num_frames,
            "overlap": args.overlap,
            "frame_stride": args.frame_stride,
            "batch_size": args.batch_size,
            "field_of_view": args.field_of_view,
        }
        masks = model.predict(source, progress=not args.quiet, **options)
        count, problems = len(masks), masks.problems
        if painted:
            problems = masks.paint(source, args.out, opacity=args.opacity, progress=not args.quiet).problems
        else:
            masks.save(args.out)
    for problem in problems:
        print(f"endofm: note: {args.video}: {problem}", file=sys.stderr)
    if not args.quiet:
        print(f"{count} frames in {args.out}. Not for diagnosis.")
        if not model.config.trained:
            print("The weights are random: these masks mean nothing.")
    return 0
