"""``endofm download``: weights into the cache, for later use without a network."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from endofm.cli.model_arguments import registered_names
from endofm.cli.parser import offer_names
from endofm.cli.printing import say

SUMMARY = "download and verify weights, so that they load without a network"
EXAMPLES = (
    "endofm download endofm-base-8x224",
    "endofm download endofm-base-8x224 --from endo_fm.pth",
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    weights = parser.add_argument(
        "weights",
        help="registered name (see `endofm models`) or owner/repo[@revision]; private repositories need "
        "`hf auth login` or HF_TOKEN in the environment",
    )
    offer_names(weights, registered_names)
    parser.add_argument("--revision", help="branch, tag or commit of a hub repository")
    parser.add_argument("--cache-dir", type=Path, metavar="DIR", help="cache folder (default: HF_HOME)")
    parser.add_argument("--force-download", action="store_true", help="download again even if cached")
    parser.add_argument(
        "--from",
        dest="file",
        type=Path,
        metavar="FILE",
        help="verify a file that was downloaded with a browser and add it to the cache",
    )


def run(args: argparse.Namespace) -> int:
    """Download the weights, and print the path of their file on standard output."""
    from endofm.files import require_writable
    from endofm.hub.download import DownloadOptions
    from endofm.hub.mirror import install_file, pinned_sha256
    from endofm.hub.registry import find_record, get_record
    from endofm.hub.resolve import load_weights
    from endofm.hub.task_layout import check_tensors

    if args.cache_dir is not None:
        require_writable(args.cache_dir)
    options = DownloadOptions(cache_dir=args.cache_dir)
    if args.file is not None:
        install_file(get_record(args.weights), args.file, options)
    record = find_record(args.weights)
    if record is not None and record.random_seed is not None:
        print(f"{record.name} is drawn from a seed; there is nothing to download", file=sys.stderr)
        return 0
    loaded = load_weights(
        args.weights,
        revision=args.revision,
        cache_dir=args.cache_dir,
        force_download=args.force_download and args.file is None,
    )
    assert loaded.state_dict is not None
    if record is not None and (pinned := pinned_sha256(record, options)):
        print(f"sha256 of the file, which is not published and is pinned from now on: {pinned}", file=sys.stderr)
    check_tensors(loaded.config, loaded.state_dict, source=loaded.provenance["file"])
    # On standard error, so that the path alone can be captured by a script.
    for key in ("revision", "sha256"):
        if key in loaded.provenance:
            say(f"{key}: {loaded.provenance[key]}", error=True)
    print(loaded.provenance["file"])
    return 0
