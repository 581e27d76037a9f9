"""Lists from outside as tables: the one reader of every list that the package takes.

Clip lists, manifests, lists of masks, label lists and ``--list`` are all read here. ``docs/data/lists.md`` states the
format, :mod:`endofm.column_names` holds the names of columns, :mod:`endofm.list_lines` takes a file apart.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from endofm.column_names import match_columns, may_be_name, may_limit_times, may_name_patients, normal_name
from endofm.errors import EndoFMWarning, InputError, quoted
from endofm.list_lines import (
    BLANKS,
    SEPARATORS,
    blank_comments,
    exists,
    find_separator,
    first_line,
    looks_like_file,
    read_lines,
    records,
    split_line,
    take_separator_line,
)

CLIP_COLUMNS = ("path", "label", "start", "end", "patient", "video", "split")
"""Columns of a list of clips; the first four in this order where no line names them."""
CLIP_WIDTHS = (1, 2, 4)
"""Numbers of columns that a list of clips may have without a line that names them."""


class ListWarning(EndoFMWarning):
    """A list holds something that was not used."""


@dataclass(frozen=True)
class ListRow:
    """One line of a list.

    Attributes:
        source: File and line, for messages.
        cells: Text of each column of ours that the list has, without blanks around it.
    """

    source: str
    cells: Mapping[str, str]


@dataclass(frozen=True)
class ListTable:
    """A list that was read.

    Attributes:
        columns: Columns of ours that it has.
        rows: Its lines.
        headed: Whether its first line names the columns.
        notes: What was not used, one sentence each; each was a :class:`ListWarning` as well.
    """

    columns: frozenset[str]
    rows: tuple[ListRow, ...]
    headed: bool
    notes: tuple[str, ...] = ()


def read_table(
    path: str | Path, columns: Sequence[str], *, required: Sequence[str] = ("path",), widths: Sequence[int] = ()
) -> ListTable:
    """Read a list of one item a line.

    Args:
        path: The file.
        columns: Columns that the caller uses, in the order that they have where no line names them.
        required: Those that a line of names must have; by the first of them such a line is recognised.
        widths: Numbers of columns that a list without such a line may have; empty if it must have one.

    Raises:
        InputError: If the file cannot be read, or a line cannot be understood; the message names the line.
    """
    path = Path(path)
    lines = read_lines(path)
    stated = take_separator_line(path, lines)
    separator, header = _find_header(path, lines, columns, required, stated)
    blank_comments(path, lines, keep=header)
    first = first_line(lines)
    if header is None and not widths:
        shown = "" if first is None else f"; got {quoted(lines[first].strip())}"
        raise InputError(
            f"{path}, line {(first or 0) + 1}: the first line must name the columns {_named(required)}{shown}"
        )
    if header is None:
        separator = stated or find_separator(path, lines, widths)
        found = list(records(path, lines, separator, headed=False))
        return _without_header(found, columns, widths)
    return _with_header(path, list(records(path, lines, separator, headed=True)), columns, required)


def read_paths(path: str | Path) -> list[str]:
    """Return the paths of a file with one path per line, or of a table whose first line names the columns.

    Without such a line a line is one path whatever is in it, since names may hold any separator; quotation marks around
    a whole line are taken off. Bytes that are not UTF-8 are kept, as in names of files on Linux.

    Raises:
        InputError: If the file cannot be read, or a table in it cannot be understood.
    """
    path = Path(path)
    lines = read_lines(path, errors="surrogateescape")
    separated = take_separator_line(path, list(lines)) is not None
    if separated or _find_header(path, lines, CLIP_COLUMNS, ("path",), None)[1] is not None:
        return [row.cells["path"] for row in read_table(path, CLIP_COLUMNS, widths=CLIP_WIDTHS).rows]
    blank_comments(path, lines)
    texts = [line.strip() for line in lines if line.strip()]
    return [text[1:-1] if len(text) > 1 and text[0] == text[-1] == '"' else text for text in texts]


def names_columns(path: str | Path, columns: Sequence[str], required: Sequence[str]) -> bool:
    """Return whether the first line of a list names the columns; arguments as of :func:`read_table`.

    Raises:
        InputError: If the file cannot be read.
    """
    path = Path(path)
    lines = read_lines(path)
    stated = take_separator_line(path, lines)
    return _find_header(path, lines, columns, required, stated)[1] is not None


def _find_header(
    path: Path, lines: Sequence[str], columns: Sequence[str], required: Sequence[str], stated: str | None
) -> tuple[str, int | None]:
    """Return the separator and the index of a first line that names the columns; the index is None without one."""
    index = first_line(lines)
    best, separator = 0, ","
    # Some programs write the names as a comment.
    text = "" if index is None else lines[index].strip("\r\n").lstrip().removeprefix("#")
    for candidate in [stated] if stated else [*SEPARATORS, BLANKS]:
        cells = split_line(text, candidate)
        found = match_columns(cells, columns)
        if required[0] not in found or len(found) <= best:
            continue
        # A folder may be called `video` or `case`.
        if len(found) == 1 and exists(path.parent / cells[found[required[0]][0]].strip()):
            continue
        best, separator = len(found), candidate
    return separator, index if best else None


def _without_header(found: Sequence[tuple[str, list[str]]], columns: Sequence[str], widths: Sequence[int]) -> ListTable:
    accepted = " or ".join(f"`{_named(columns[:width])}`" for width in widths if width > 1)
    rows: list[ListRow] = []
    for source, cells in found:
        while len(cells) > max(widths) and not cells[-1]:
            cells = cells[:-1]
        # Labels may have times in some lines only; a line without the label that others have is a mistake.
        if len(cells) not in widths or (rows and min(len(cells), 2) != min(len(rows[0].cells), 2)):
            raise InputError(
                f"{source}: expected {accepted} as in the other lines, got {quoted(','.join(cells))}; quote a path "
                "that holds the separator, and name other columns in the first line"
            )
        if rows and len(cells) > 1 and may_be_name(cells[0]) and len(match_columns(cells, columns)) == len(cells):
            raise InputError(f"{source}: this line names columns, which only the first line can; remove it")
        if len(cells) > 1 and looks_like_file(cells[1]):
            raise InputError(
                f"{source}: the label {quoted(cells[1])} looks like a file; the order is {accepted} unless the first "
                "line names the columns"
            )
        if not cells[0] or any("\n" in cell or "\r" in cell for cell in cells):
            raise InputError(f"{source}: the path is empty, or a quoted cell ends in another line")
        rows.append(ListRow(source, dict(zip(columns, cells, strict=False))))
    return ListTable(frozenset(name for row in rows for name in row.cells), tuple(rows), headed=False)


def _with_header(
    path: Path, found: Sequence[tuple[str, list[str]]], columns: Sequence[str], required: Sequence[str]
) -> ListTable:
    source, header = found[0]
    places = match_columns(header, columns)
    _check_header(source, header, places, required)
    names = [normal_name(cell) for cell in header]
    rows: list[ListRow] = []
    for source, cells in found[1:]:
        values, rest = cells[: len(header)], cells[len(header) :]
        if any(rest) or len(values) < len(header):
            raise InputError(f"{source}: {len(cells)} values for {len(header)} columns; quote a cell with a separator")
        named = may_be_name(values[places[required[0]][0]])
        # Lists that were joined repeat their first line.
        if named and [normal_name(cell) for cell in values] == names:
            continue
        if named and len(header) > 1 and set(required) <= set(match_columns(values, columns)):
            raise InputError(f"{source}: this line names the columns again, in another order or by other names")
        if not values[places[required[0]][0]]:
            raise InputError(f"{source}: the {required[0]} is empty")
        # Of several columns that name the patient the first that is filled in.
        filled = {name: next((values[at] for at in spots if values[at]), "") for name, spots in places.items()}
        rows.append(ListRow(source, filled))
    used = {spots[0] for spots in places.values()}
    _check_patients(header, found[1:], places.get("patient", ()))
    unused = [
        cell or f"number {at + 1}"
        for at, cell in enumerate(header)
        if at not in used and (cell or any(cells[at] for _, cells in found[1:]))
    ]
    notes = (f"The list {path.name} has columns that are not used: {_named(unused)}.",) if unused else ()
    for note in notes:
        warnings.warn(note, ListWarning, stacklevel=3)
    return ListTable(frozenset(places), tuple(rows), headed=True, notes=notes)


def _check_header(
    source: str, header: Sequence[str], places: Mapping[str, tuple[int, ...]], required: Sequence[str]
) -> None:
    """Raise unless a line of names says what each column is, as far as that decides what is learnt."""
    missing = [name for name in required if name not in places]
    if missing:
        raise InputError(
            f"{source.rpartition(', line')[0]}: the first line must name the columns {_named(required)}; "
            f"{' and '.join(missing)} is missing"
        )
    for name, spots in places.items():
        shown = [header[at] for at in spots]
        if len(spots) > 1 and (name != "patient" or len({normal_name(cell) for cell in shown}) < len(spots)):
            raise InputError(f"{source}: {_named(shown)} could all be the {name}; call one of them {name}")
    taken = {at for spots in places.values() for at in spots}
    for at, cell in enumerate(header):
        if at not in taken and may_name_patients(cell):
            raise InputError(
                f"{source}: the column {quoted(cell)} may name patients, whom training and test must not share; call "
                "it patient if it does, or take it out of the list"
            )
        if at not in taken and may_limit_times(cell):
            raise InputError(
                f"{source}: the column {quoted(cell)} may limit the clips; times are columns start and end, in "
                "seconds. Rename it, or take it out of the list"
            )


def _check_patients(header: Sequence[str], lines: Sequence[tuple[str, list[str]]], spots: Sequence[int]) -> None:
    """Raise if a second column that may name the patient contradicts the one that is used."""
    for at in spots[1:]:
        known: dict[str, str] = {}
        for source, cells in lines:
            patient, other = cells[spots[0]], cells[at]
            if patient and other and known.setdefault(other, patient) != patient:
                raise InputError(
                    f"{source}: {header[at]} {quoted(other)} belongs to {header[spots[0]]} {quoted(patient)} here and "
                    f"to {quoted(known[other])} in an earlier line; keep the column that training and test must not "
                    "share"
                )


def _named(names: Sequence[str]) -> str:
    """Return names of columns for a message, at most 200 characters of them."""
    return quoted(",".join(names))[1:-1]
