"""``endofm data check``: report missing, damaged, duplicated and shared clips."""

from __future__ import annotations

import argparse

from endofm.cli.batch import print_left_out
from endofm.cli.printing import say

SUMMARY = "find missing, damaged and duplicated clips, and clips shared with other data"
EXAMPLES = ("endofm data check prepared/ --against prepared-kumc/ --write-clean",)

SHOWN = 20
"""Maximum number of findings of each kind that are printed; ``check.json`` holds all of them."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("out", metavar="OUT", help="prepared set, folder of prepared sets, or any folder of videos")
    parser.add_argument(
        "--against",
        nargs="+",
        default=[],
        metavar="OTHER",
        help="other data that must not show the same recordings, such as a downstream set",
    )
    parser.add_argument(
        "--write-clean",
        action="store_true",
        help="write clean.csv next to the manifest, without missing, damaged and duplicated clips and those of OTHER",
    )
    parser.add_argument("--jobs", type=int, metavar="N", help="number of processes (default: one per processor)")


def run(args: argparse.Namespace) -> int:
    """Check the data; the exit status is 1 if there are findings."""
    from endofm.data.check import KINDS, REPORT_NAME, check, write_clean
    from endofm.errors import InputError

    if args.jobs is not None and args.jobs < 1:
        raise InputError(f"--jobs must be at least 1, got {args.jobs}")
    report = check(args.out, args.against, jobs=args.jobs)
    compared = f", compared with {', '.join(report.against)}" if report.against else ""
    say(f"{report.folder}: {report.clips:,} clips{compared}")
    for kind, count in report.counts().items():
        print(f"\n{kind} ({KINDS[kind]}): {count:,}")
        for finding in [finding for finding in report.findings if finding.kind == kind][:SHOWN]:
            other = f"  =  {finding.other}" if finding.other else ""
            text = f"  ({finding.text})" if finding.text else ""
            say(f"  {finding.clip}{other}{text}")
        if count > SHOWN:
            print(f"  ... and {count - SHOWN:,} more")
    print_left_out(report.left_out, f"{args.out}/{REPORT_NAME}")
    if not report.findings:
        print("no missing, damaged, duplicated or shared clips")
    print(f"\nwritten to {args.out}/{REPORT_NAME}")
    if args.write_clean:
        for path, clips, left_out in write_clean(report):
            say(f"{path}: {clips:,} clips, {left_out:,} left out")
    return int(bool(report.findings))
