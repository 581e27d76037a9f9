"""``endofm models``: table of the registered weights."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING

from endofm.cli.printing import say

if TYPE_CHECKING:
    from endofm.hub.weight_record import WeightRecord

    Columns = dict[str, Callable[[WeightRecord], str]]

SUMMARY = "list the registered weights"
EXAMPLES = (
    "endofm models",
    "endofm models --json",
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print complete records as JSON")
    form.add_argument(
        "--markdown",
        nargs="?",
        const="weights",
        choices=("weights", "encoders"),
        help="print a table of the documentation: of our own weights (default), or of the encoders of other projects",
    )


def run(args: argparse.Namespace) -> int:
    """Print one line per weight."""
    from endofm.hub.registry import get_record, list_models

    records = [get_record(name) for name in list_models()]
    if args.json:
        print(
            json.dumps([{**asdict(r), "task": r.task, "num_parameters": r.num_parameters} for r in records], indent=2)
        )
    elif args.markdown:
        others = args.markdown == "encoders"
        records = [record for record in records if bool(record.family) == others]
        columns = _ENCODER_ROW if others else _ROW
        print(_markdown([record for record in records if record.config.trained], columns))
        # Random weights serve tests; on a page they would hide the few that a reader is looking for.
        print("\n<details>\n<summary>Random weights, to try the software</summary>\n")
        print(_markdown([record for record in records if not record.config.trained], columns))
        print("\n</details>")
    else:
        rows = _table(records, _ROW)
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return 0


def _table(records: list[WeightRecord], columns: Columns) -> list[tuple[str, ...]]:
    """Return the header and one row per weight."""
    return [tuple(columns), *(tuple(value(record) for value in columns.values()) for record in records)]


def _markdown(records: list[WeightRecord], columns: Columns) -> str:
    header, *rows = _table(records, columns)
    rows = [header, ("---",) * len(columns), *((f"`{name}`", *rest) for name, *rest in rows)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _place(record: WeightRecord) -> str:
    """Return where the weights are, as a link, and whether that was tried."""
    if record.random_seed is not None:
        return "drawn from a seed"
    if record.hub_id:
        return f"[{record.hub_id}](https://huggingface.co/{record.hub_id}), `{record.filename}`"
    mirror = record.mirrors[0]
    return f"[browser only]({mirror.page})" + (f", `{mirror.filename}`" if mirror.filename else "")


_ROW: Columns = {
    "Name": lambda record: record.name,
    "Input": lambda record: f"{record.config.encoder.num_frames} x {record.config.encoder.img_size}²",
    "Width": lambda record: str(record.config.encoder.embed_dim),
    "Parameters": lambda record: f"{record.num_parameters / 1e6:.1f} M",
    "Licence": lambda record: record.license or "not stated",
    "Held out": lambda record: ", ".join(record.datasets_held_out) or "-",
    "What it is": lambda record: record.description,
}

_ENCODER_ROW: Columns = {
    "Name": lambda record: record.name,
    "Model": lambda record: record.family,
    "Kind": lambda record: record.config.encoder.describe().partition(":")[0].partition(" ")[2],
    "Frames": lambda record: str(record.config.encoder.num_frames),
    "Side": lambda record: str(record.config.encoder.img_size),
    "Width": lambda record: str(record.config.encoder.embed_dim),
    "Parameters": lambda record: f"{record.num_parameters / 1e6:.1f} M",
    "Licence": lambda record: record.license or "not stated",
    "Weights": _place,
    "Tried": lambda record: "-" if record.random_seed is not None else "no",
}
