"""CSV as the package writes it: no text of others in a table is executed by the spreadsheet that opens it.

A spreadsheet takes a cell that begins with ``=``, ``+``, ``-`` or ``@`` for a formula, which can read other files and
send their content away. Labels and names of files come from others, so such a cell gets a ``'`` in front, which
spreadsheets understand as "text follows" and which our own readers take off. Numbers stay as they are.

Source: https://owasp.org/www-community/attacks/CSV_Injection
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TextIO

# With the wide forms, which some versions take for the narrow ones. A cell that looks as if it was marked already is
# marked once more, so that taking one mark off always gives the text back.
_FORMULA = re.compile("'*[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
_MARKED = re.compile(f"'(?={_FORMULA.pattern})")
_QUOTED = re.compile(r'[,"\r\n]')
_NUMBER = re.compile(r"[+-]?((\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|inf|nan)")


def write_table(path: Path, rows: Iterable[Iterable[object]]) -> None:
    """Write a table of results.

    Args:
        path: File to create.
        rows: Header and rows, texts and numbers; names that are not UTF-8 are written with escapes.
    """
    with path.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        write_rows(file, rows)


def write_rows(file: TextIO, rows: Iterable[Iterable[object]]) -> None:
    r"""Write rows of a table that is open already, such as a log.

    Args:
        file: Open for text, with ``newline=""``; rows end with ``\n`` on every system.
        rows: Texts and numbers.
    """
    file.writelines(f"{','.join(map(_cell, row))}\n" for row in rows)


def plain_cell(text: str) -> str:
    """Return a cell of a table without the mark that :func:`write_rows` put before it."""
    return text[1:] if _MARKED.match(text) else text


def _cell(value: object) -> str:
    text = "" if value is None else str(value)
    if isinstance(value, str) and _FORMULA.match(text) and not _NUMBER.fullmatch(text):
        text = f"'{text}"
    # Unlike csv.writer, which leaves a carriage return outside of quotes, where it ends the row for every reader.
    return '"{}"'.format(text.replace('"', '""')) if _QUOTED.search(text) else text
