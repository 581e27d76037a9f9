"""CSV: one row per clip, its times and then its numbers, below lines of comment that hold everything else.

``pandas.read_csv(path, comment="#")`` reads the table. Every number is the shortest decimal that is read back as the
same number, so that nothing is lost: float32 in at most 9 digits, float64 in at most 17. Not-a-number is ``nan``,
whatever its payload.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from endofm.errors import quoted
from endofm.json_text import parse_json
from endofm.tasks.features.files import Arrays, Strings

_COLUMNS = {
    "start_seconds": "start_seconds",
    "end_seconds": "end_seconds",
    "embeddings": "e{}",
    "frame_seconds": "f{}_seconds",
    "frame_embeddings": "f{}_e{}",
    "patch_tokens": "f{}_r{}_c{}_e{}",
}
"""Arrays in the order of their columns, and the names of these by indices of frame, row, column and value."""

_TYPES = ("float32", "float64")
_FORMS = "columns"

_LITERAL = re.compile(r'"(?:[^"\\]|\\.)*"')
_STARTING = re.compile(r"[,;=@\x7f]|(?<![A-Za-z0-9_.])[+-]")


def write(path: Path, arrays: Arrays, strings: Strings) -> None:
    """Write the comment lines, the header and the rows."""
    ordered = {name: arrays[name] for name in _COLUMNS if name in arrays}
    forms = {name: [str(array.dtype), *array.shape] for name, array in ordered.items()}
    with path.open("w", encoding="ascii", newline="") as file:
        for name, text in {**strings, _FORMS: json.dumps(forms)}.items():
            file.write(f"# {name}: {_without_cells(text)}\n")
        file.write(",".join(_header({name: array.shape[1:] for name, array in ordered.items()})) + "\n")
        for row in range(len(next(iter(ordered.values())))):
            file.write(",".join(text for array in ordered.values() for text in _texts(array[row])) + "\n")


def read(path: Path) -> tuple[Arrays, Strings]:
    """Read the comment lines and the rows, of which every one must be complete."""
    with path.open(encoding="ascii", newline="\n") as file:
        strings, header = _comments(file)
        if _FORMS not in strings:
            return {}, strings
        forms = parse_json(strings.pop(_FORMS))
        shapes = {name: tuple(shape) for name, (_, _, *shape) in forms.items()}
        # Before the names are made: a short file can state any number of columns.
        if sum(math.prod(shape) for shape in shapes.values()) != header.count(",") + 1:
            raise ValueError("the header does not have the columns that the comment states")
        if list(_header(shapes)) != header.rstrip("\n").split(","):
            raise ValueError("the header names other columns than the comment")
        rows = [_numbers(line) for line in file]
    widths = [math.prod(shape) for shape in shapes.values()]
    if any(len(row) != sum(widths) for row in rows) or any(count != len(rows) for _, count, *_ in forms.values()):
        raise ValueError("rows or cells are missing")
    table = np.array(rows).reshape(len(rows), sum(widths))
    arrays: Arrays = {}
    ends = np.cumsum(widths).tolist()
    for (name, (kind, _, *shape)), end, width in zip(forms.items(), ends, widths, strict=True):
        if kind not in _TYPES:
            raise ValueError(f"numbers of the type {quoted(kind)} are not read")
        arrays[name] = table[:, end - width : end].astype(kind).reshape(len(rows), *shape)
    return arrays, strings


def _comments(file: IO[str]) -> tuple[Strings, str]:
    """Return the strings of the comment lines, and the line after them."""
    strings: Strings = {}
    for line in file:
        if not line.startswith("# "):
            return strings, line
        name, _, text = line[2:].rstrip("\n").partition(": ")
        strings[name] = text
    return strings, ""


def _header(shapes: dict[str, tuple[int, ...]]) -> Iterator[str]:
    for name, shape in shapes.items():
        for index in product(*map(range, shape)):
            yield _COLUMNS[name].format(*index)


def _texts(values: npt.NDArray[Any]) -> list[str]:
    """Return numbers as their shortest texts that are read back exactly."""
    flat = np.asarray(values).reshape(-1)
    if flat.dtype == np.float64:
        return [repr(value) for value in flat.tolist()]
    texts: list[str] = flat.astype("U32").tolist()
    # Readers make a float64 first. Rounding twice could end at the neighbour of a number, whose text is then longer.
    wrong = np.flatnonzero(np.array(texts, np.float64).astype(np.float32) != flat)
    for index in wrong[~np.isnan(flat[wrong])].tolist():
        texts[index] = repr(float(flat[index]))
    return texts


def _numbers(line: str) -> npt.NDArray[np.float64]:
    if not line.endswith("\n"):
        raise ValueError("it ends within a row")
    return np.array(line.split(","), np.float64)


def _without_cells(text: str) -> str:
    """Return one line of JSON, or of plain text, in which no string can begin a cell that a spreadsheet would run.

    Spreadsheets know no comments: they split such a line at commas or semicolons. Characters of strings that separate
    cells or begin a formula are written as escapes, which mean the same in JSON.
    """
    if not text.isascii() or not text.isprintable():
        raise ValueError("a comment of a table is one line of ASCII")

    def escaped(literal: re.Match[str]) -> str:
        return _STARTING.sub(lambda found: f"\\u{ord(found[0]):04x}", literal[0])

    return _LITERAL.sub(escaped, text)
