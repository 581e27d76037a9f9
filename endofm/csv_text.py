"""CSV tables of results, which people open in spreadsheets."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

# A spreadsheet computes a cell that begins like this, and a formula can start programs and send data.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def write_table(path: Path, rows: Iterable[Sequence[object]]) -> None:
    """Write a table whose names are text for every program that opens it.

    A text that a spreadsheet would take for a formula begins with an apostrophe; numbers stay as they are. Lists of
    clips are not for spreadsheets and are written by :mod:`endofm.data`.

    Args:
        path: File to create.
        rows: Header and rows; names that are not UTF-8 are written with escapes.
    """
    with path.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        csv.writer(file).writerows([_cell(value) for value in row] for row in rows)


def _cell(value: object) -> object:
    if isinstance(value, str) and value.startswith(_FORMULA) and not _is_number(value):
        return f"'{value}"
    return value


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
