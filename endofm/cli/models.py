"""``endofm models``: table of the registered weights."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from endofm.hub.weight_record import WeightRecord

SUMMARY = "list the registered weights"
EXAMPLES = (
    "endofm models",
    "endofm models --json",
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print complete records as JSON")
    form.add_argument("--markdown", action="store_true", help="print the table of the documentation")


def run(args: argparse.Namespace) -> int:
    """Print one line per weight."""
    from endofm.hub.registry import get_record, list_models

    records = [get_record(name) for name in list_models()]
    if args.json:
        print(
            json.dumps([{**asdict(r), "task": r.task, "num_parameters": r.num_parameters} for r in records], indent=2)
        )
    elif args.markdown:
        print(_markdown([record for record in records if record.config.trained]))
        # Random weights serve tests; on a page they would hide the few that a reader is looking for.
        print("\n<details>\n<summary>Random weights, to try the software</summary>\n")
        print(_markdown([record for record in records if not record.config.trained]))
        print("\n</details>")
    else:
        rows = _table(records)
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return 0


def _table(records: list[WeightRecord]) -> list[tuple[str, ...]]:
    """Return the header and one row per weight."""
    return [tuple(_ROW), *(tuple(value(record) for value in _ROW.values()) for record in records)]


def _markdown(records: list[WeightRecord]) -> str:
    header, *rows = _table(records)
    rows = [header, ("---",) * len(_ROW), *((f"`{name}`", *rest) for name, *rest in rows)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


_ROW: dict[str, Callable[[WeightRecord], str]] = {
    "Name": lambda record: record.name,
    "Input": lambda record: f"{record.config.encoder.num_frames} x {record.config.encoder.img_size}²",
    "Width": lambda record: str(record.config.encoder.embed_dim),
    "Parameters": lambda record: f"{record.num_parameters / 1e6:.1f} M",
    "Licence": lambda record: record.license or "not stated",
    "Held out": lambda record: ", ".join(record.datasets_held_out) or "-",
    "What it is": lambda record: record.description,
}
