"""``endofm download``: weights into the cache, for machines that have no network later."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

SUMMARY = "fetch and check weights, so that they load without a network from then on"
EXAMPLES = (
    "endofm download endofm-base-8x224",
    "endofm download endofm-base-8x224 --from endo_fm.pth",
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "weights",
        help="registered name (see `endofm models`) or owner/repo[@revision]; private repositories need "
        "`hf auth login` or HF_TOKEN in the environment",
    )
    parser.add_argument("--revision", help="branch, tag or commit of a hub repository")
    parser.add_argument("--cache-dir", type=Path, metavar="DIR", help="keep the files here instead of HF_HOME")
    parser.add_argument("--force", action="store_true", help="fetch again what is in the cache")
    parser.add_argument(
        "--from",
        dest="file",
        type=Path,
        metavar="FILE",
        help="put a file that was fetched with a browser into the cache, after checking that it is the right one",
    )


def run(args: argparse.Namespace) -> int:
    """Fetch the weights; the path of the file goes to standard output."""
    from endofm.hub.download import DownloadOptions
    from endofm.hub.mirror import install_file
    from endofm.hub.registry import find_record, get_record
    from endofm.hub.resolve import load_weights

    if args.file is not None:
        install_file(get_record(args.weights), args.file, DownloadOptions(cache_dir=args.cache_dir))
    record = find_record(args.weights)
    if record is not None and record.random_seed is not None:
        print(f"{record.name} is made from a seed; there is nothing to fetch", file=sys.stderr)
        return 0
    loaded = load_weights(
        args.weights,
        revision=args.revision,
        cache_dir=args.cache_dir,
        force_download=args.force and args.file is None,
    )
    for key in ("revision", "sha256"):
        if key in loaded.provenance:
            print(f"{key}: {loaded.provenance[key]}", file=sys.stderr)
    print(loaded.provenance["file"])
    return 0
