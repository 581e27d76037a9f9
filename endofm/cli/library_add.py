"""``endofm library add``: feature files into a library, restartable."""

from __future__ import annotations

import argparse
from pathlib import Path

from endofm.address import located
from endofm.cli.printing import say

SUMMARY = "add feature files to a library, which is created if it is missing; restartable"
EXAMPLES = (
    "endofm library add features/ -o archive.lance",
    "endofm library add features/ -o archive.lance --set 2026 --labels labels.csv",
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "features",
        nargs="+",
        type=located,
        metavar="FEATURES",
        help="folder written by `endofm extract`, or feature file; or its address in object storage (s3://)",
    )
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="LIBRARY", help="folder of the library")
    parser.add_argument("--set", metavar="NAME", help="name of their set, for filters (default: name of the folder)")
    parser.add_argument(
        "--labels", type=Path, metavar="LIST", help="list `path,label[,start,end,patient]` of the recordings"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress bar and no summary")


def run(args: argparse.Namespace) -> int:
    """Add the features; the status is 1 if a file could not be read."""
    from endofm.library.feature_library import FeatureLibrary

    library = FeatureLibrary(args.out)
    report = library.add(args.features, set=args.set, labels=args.labels, progress=not args.quiet)
    for file, twin in report.copies:
        say(f"endofm: note: {file}: the library holds the same features as {twin}", error=True)
    for _, reason in report.failed:
        say(f"endofm: failed: {reason}", error=True)
    if not args.quiet:
        say(
            f"{len(report.added)} recordings with {report.clips} clips added to {args.out} "
            f"({report.skipped} were in it before); it holds {len(library.recordings)} recordings, {len(library)} clips"
        )
    return int(bool(report.failed))
