"""``endofm models``: the weights that are known by name."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

SUMMARY = "list the weights that are known by name"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--json", action="store_true", help="print everything that is recorded, as JSON")


def run(args: argparse.Namespace) -> int:
    """Print one line per weight."""
    from endofm.hub.registry import get_record, list_models

    records = [get_record(name) for name in list_models()]
    if args.json:
        print(json.dumps([{**asdict(r), "num_parameters": r.num_parameters} for r in records], indent=2))
        return 0
    rows = [("NAME", "INPUT", "WIDTH", "PARAMETERS", "LICENCE", "HELD OUT", "WHAT IT IS")]
    for record in records:
        encoder = record.config.encoder
        rows.append(
            (
                record.name,
                f"{encoder.num_frames} x {encoder.img_size} x {encoder.img_size}",
                str(encoder.embed_dim),
                f"{record.num_parameters / 1e6:.1f} M",
                record.license or "not stated",
                ", ".join(record.datasets_held_out) or "-",
                record.description,
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return 0
