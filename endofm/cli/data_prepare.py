"""``endofm data prepare``: turn a data set that the user has obtained into clips with a manifest."""

from __future__ import annotations

import argparse
import sys

from endofm.cli.batch import print_left_out

SUMMARY = "turn a data set that you have obtained into clips, lists and a manifest (downloads nothing)"
EXAMPLES = (
    "endofm data prepare folder recordings/ prepared/ --dry-run",
    "endofm data prepare kumc PolypsSet/ prepared-kumc/",
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "set", metavar="SET", help="name of the data set, or `folder` for any folder of videos or frames"
    )
    parser.add_argument("source", metavar="SRC", help="folder that the set was unpacked into")
    parser.add_argument("out", metavar="OUT", help="folder for the prepared set; an interrupted run resumes there")
    parser.add_argument("--jobs", type=int, metavar="N", help="number of processes (default: one per processor)")
    parser.add_argument("--limit", type=int, metavar="N", help="prepare only the first N sources")
    parser.add_argument("--clip-frames", type=int, default=150, metavar="N", help="frames per clip (default: 150)")
    parser.add_argument(
        "--short-side", type=int, default=256, metavar="PIXELS", help="shorter side of the clips (default: 256)"
    )
    parser.add_argument("--overwrite", action="store_true", help="remove the clips of an earlier run and start over")
    parser.add_argument("--dry-run", action="store_true", help="list the sources without preparing them")


def run(args: argparse.Namespace) -> int:
    """Prepare the set; the status is 1 if something could not be read."""
    from endofm.data.prepare.catalogue import find_set
    from endofm.data.prepare.clip_format import ClipFormat
    from endofm.data.prepare.preparation import PROBLEMS_NAME, plan, prepare
    from endofm.errors import InputError

    for name in ("jobs", "limit"):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise InputError(f"--{name} must be at least 1, got {value}")
    recipe = find_set(args.set)
    if args.dry_run:
        listing = plan(recipe, args.source, args.limit)
        for item in listing.items:
            print("\t".join((item.source, item.video, item.patient, item.label, item.split)))
        for name, text in (*listing.problems, *listing.dropped):
            print(f"{name}: {text}", file=sys.stderr)
        return int(bool(listing.problems))
    report = prepare(
        recipe,
        args.source,
        args.out,
        clip_format=ClipFormat(clip_frames=args.clip_frames, short_side=args.short_side),
        jobs=args.jobs,
        limit=args.limit,
        overwrite=args.overwrite,
    )
    expected = f" (published: {report.expected_clips:,})" if report.expected_clips else ""
    print(f"{args.out}: {report.clips:,} clips{expected}, {report.frames:,} frames from {report.sources:,} sources")
    for name, text in report.problems[:20]:
        print(f"{name}: {text}", file=sys.stderr)
    print_left_out(report.dropped, f"{args.out}/{PROBLEMS_NAME}")
    if report.problems:
        print(f"{len(report.problems)} problems, listed in {args.out}/{PROBLEMS_NAME}", file=sys.stderr)
    return int(bool(report.problems))
