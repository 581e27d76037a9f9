"""``endofm library info``: contents, settings and calibration of a library."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from endofm.cli.printing import say

SUMMARY = "print what a library holds, and how similar its unrelated clips are"
EXAMPLES = ("endofm library info archive.lance", "endofm library info archive.lance --json")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("library", type=Path, metavar="LIBRARY", help="folder of the library")
    parser.add_argument("--json", action="store_true", help="print everything as JSON, with a row for each recording")


def run(args: argparse.Namespace) -> int:
    """Print the contents."""
    from endofm.library.feature_library import FeatureLibrary
    from endofm.tasks.features.results import clock

    library = FeatureLibrary(args.library)
    description = library.describe()
    if args.json:
        # Names of files that are not UTF-8 are written with escapes.
        print(json.dumps(description, indent=2))
        return 0
    settings, sets = description["settings"], description["sets"]
    say(
        f"recordings  {len(description['recordings'])}",
        f"clips       {description['clips']}",
        f"time        {clock(sum(one['seconds'] for one in description['recordings']))}",
        f"weights     {settings['weights']} (sha256 {settings['weights_sha256'][:12]}), width {settings['embed_dim']}",
        f"windows     {', '.join(f'{name} {value}' for name, value in (settings['windows'] or {}).items())}",
        f"sets        {', '.join(f'{name} ({count})' for name, count in sets.items())}",
        f"search      {'by index' if description['indexed'] else 'clip by clip'}",
        f"unrelated   {description['unrelated']}",
    )
    if library.untrained:
        print("The weights are random: scores mean nothing.")
    return 0
