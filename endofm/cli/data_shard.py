"""``endofm data shard``: prepared clips into tar files for storage that is read from front to back."""

from __future__ import annotations

import argparse

SUMMARY = "pack prepared clips into tar shards (WebDataset format)"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("clips", nargs="+", metavar="CLIPS", help="prepared folder, manifest or list; or several")
    parser.add_argument("out", metavar="OUT", help="folder for the shards")
    parser.add_argument("--clips-per-shard", type=int, default=200, metavar="N", help="default: 200")
    parser.add_argument("--split", metavar="NAME", help="take only the clips of this subset, e.g. train")
    parser.add_argument("--seed", type=int, default=0, help="seed of the order in the shards (default: 0)")


def run(args: argparse.Namespace) -> int:
    """Pack the clips."""
    from endofm.data.listing import read_clips
    from endofm.data.shard_files import write_shards
    from endofm.errors import InputError

    table = read_clips(*args.clips)
    if args.split is not None:
        chosen = [args.split in split.split("+") for split in table.split]
        if not any(chosen):
            known = ", ".join(sorted(set(table.split))) or "none"
            raise InputError(f"no clip belongs to the subset {args.split!r}; there are: {known}")
        table = table.take(chosen)
    shards = write_shards(table, args.out, clips_per_shard=args.clips_per_shard, seed=args.seed)
    print(f"{args.out}: {len(table):,} clips in {len(shards):,} shards")
    return 0
