"""``endofm data check``: what is missing, damaged, doubled or shared in prepared data."""

from __future__ import annotations

import argparse

SUMMARY = "find what is missing, damaged or doubled in prepared data, and what it shares with other data"

SHOWN = 20
"""Findings of each kind that are printed; all of them stand in ``check.json``."""


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
        help="write clean.csv beside the manifest: without what is missing, damaged, doubled or shared with OTHER",
    )
    parser.add_argument("--jobs", type=int, metavar="N", help="processes side by side (default: one per core)")


def run(args: argparse.Namespace) -> int:
    """Check the data; the status is 1 if something was found."""
    from endofm.data.check import KINDS, REPORT_NAME, check, write_clean
    from endofm.errors import InputError

    if args.jobs is not None and args.jobs < 1:
        raise InputError(f"--jobs must be at least 1, got {args.jobs}")
    report = check(args.out, args.against, jobs=args.jobs)
    compared = f", compared with {', '.join(report.against)}" if report.against else ""
    print(f"{report.folder}: {report.clips:,} clips{compared}")
    for kind, count in report.counts().items():
        print(f"\n{kind} ({KINDS[kind]}): {count:,}")
        for finding in [finding for finding in report.findings if finding.kind == kind][:SHOWN]:
            other = f"  =  {finding.other}" if finding.other else ""
            text = f"  ({finding.text})" if finding.text else ""
            print(f"  {finding.clip}{other}{text}")
        if count > SHOWN:
            print(f"  ... and {count - SHOWN:,} more")
    if not report.findings:
        print("nothing was found to be missing, damaged, doubled or shared")
    print(f"\nwritten to {args.out}/{REPORT_NAME}")
    if args.write_clean:
        for path, clips, left_out in write_clean(report):
            print(f"{path}: {clips:,} clips, {left_out:,} left out")
    return int(bool(report.findings))
