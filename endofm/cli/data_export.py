"""``endofm data export``: predictions as labels of CVAT, Label Studio, YOLO, COCO and FiftyOne."""

from __future__ import annotations

import argparse
from pathlib import Path

from endofm.cli.printing import say

SUMMARY = "write results of classify, segment and detect for CVAT, Label Studio, YOLO, COCO or FiftyOne"
EXAMPLES = (
    "endofm data export boxes/ for-cvat/ --to cvat",
    "endofm data export masks/still.jpg.json for-review/ --to label-studio --min-score 0.5",
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "results", nargs="+", metavar="RESULT", help=".json file, or folder that a command has filled with them"
    )
    parser.add_argument("out", type=Path, metavar="OUT", help="new folder for the files")
    parser.add_argument(
        "--to", required=True, choices=("cvat", "label-studio", "yolo", "coco", "fiftyone"), help="the other tool"
    )
    parser.add_argument(
        "--min-score", type=float, default=0.0, metavar="S", help="smallest score of a box or mask (default: 0)"
    )
    parser.add_argument("--overwrite", action="store_true", help="write into a folder that is not empty")


def run(args: argparse.Namespace) -> int:
    """Write the files."""
    from endofm.data.interchange.formats import WRITERS
    from endofm.data.interchange.predictions import read_predictions
    from endofm.errors import InputError
    from endofm.files import require_writable

    require_writable(args.out)
    if args.out.exists() and any(args.out.iterdir()) and not args.overwrite:
        raise InputError(f"{args.out} is not empty; pass --overwrite to write into it")
    labels = read_predictions(args.results, min_score=args.min_score)
    files = WRITERS[args.to](labels, args.out)
    count = sum(len(medium.regions) for medium in labels.media)
    shown = ", ".join(str(file.relative_to(args.out)) for file in files[:3])
    more = f" and {len(files) - 3} more" if len(files) > 3 else ""
    say(f"{args.out}: {count} boxes or masks of {len(labels.media)} images and videos in {shown}{more}")
    return 0
