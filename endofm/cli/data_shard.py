"""``endofm data shard``: pack prepared clips into tar files for storage with sequential access."""

from __future__ import annotations

import argparse

SUMMARY = "pack prepared clips into tar shards (WebDataset format)"
EXAMPLES = ("endofm data shard prepared/ shards/ --clips-per-shard 200",)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("clips", nargs="+", metavar="CLIPS", help="prepared folders, manifests or lists")
    parser.add_argument("out", metavar="OUT", help="folder for the shards")
    parser.add_argument("--clips-per-shard", type=int, default=200, metavar="N", help="default: 200")
    parser.add_argument("--split", metavar="NAME", help="pack only the clips of this subset, e.g. train")
    parser.add_argument("--seed", type=int, default=0, help="seed of the order in the shards (default: 0)")
    parser.add_argument("--overwrite", action="store_true", help="replace the shards that OUT already holds")


def run(args: argparse.Namespace) -> int:
    """Pack the clips."""
    from endofm.data.listing import read_clips
    from endofm.data.shard_files import write_shards
    from endofm.errors import InputError

    table = read_clips(*args.clips)
    if args.split is not None:
        selected = [args.split in split.split("+") for split in table.split]
        if not any(selected):
            available = ", ".join(sorted(set(table.split))) or "none"
            raise InputError(f"no clip belongs to the subset {args.split!r}; available: {available}")
        table = table.take(selected)
    shards = write_shards(
        table, args.out, clips_per_shard=args.clips_per_shard, seed=args.seed, overwrite=args.overwrite
    )
    print(f"{args.out}: {len(table):,} clips in {len(shards):,} shards")
    return 0
