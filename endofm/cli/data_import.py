"""``endofm data import``: labels of CVAT, Label Studio, YOLO and COCO as data to train and test on."""

from __future__ import annotations

import argparse
from pathlib import Path

from endofm.cli.printing import say

SUMMARY = "read labels of CVAT, Label Studio, YOLO or COCO: boxes, masks and classes for finetune and evaluate"
EXAMPLES = (
    "endofm data import annotations.xml images/ set/",
    "endofm data import project-1.json videos/ set/ --every 5",
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("labels", metavar="LABELS", help="file or folder that the tool has exported")
    parser.add_argument("media", metavar="MEDIA", help="folder of the images and videos, searched with all below")
    parser.add_argument("out", metavar="OUT", help="folder for the set")
    parser.add_argument(
        "--format", metavar="NAME", help="cvat, label-studio, yolo or coco (default: the one that is recognised)"
    )
    parser.add_argument("--every", type=int, default=1, metavar="N", help="take every n-th frame of videos")
    parser.add_argument("--overwrite", action="store_true", help="replace a set that OUT holds")


def run(args: argparse.Namespace) -> int:
    """Import; the status is 1 if something was left out."""
    from endofm.data.interchange.formats import read_labels
    from endofm.data.interchange.imported_set import REPORT_NAME, import_labels

    labels = read_labels(args.labels, args.format)
    report = import_labels(labels, args.media, args.out, every=args.every, overwrite=args.overwrite)
    for name, sentence in report.problems[:20]:
        say(f"endofm: note: {name}: {sentence}", error=True)
    if len(report.problems) > 20:
        say(f"endofm: note: {len(report.problems) - 20} more, listed in {Path(args.out) / REPORT_NAME}", error=True)
    say(
        f"{args.out}: {report.media} images and videos, {report.frames} frames, {report.boxes} boxes, {report.masks} "
        f"masks, {report.labelled} labels; classes of regions: {', '.join(labels.labels) or 'none'}",
        f"lists: {', '.join(report.lists)}",
    )
    return int(bool(report.problems))
