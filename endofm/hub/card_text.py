"""Text of others inside a model card: names, labels and licences are data there, and never markup.

Source: the rules of CommonMark 0.31 (https://spec.commonmark.org/0.31.2/) and of GitHub's tables.
"""

from __future__ import annotations

import re

from endofm.errors import visible

_LIMIT = 200
"""Largest number of characters that are shown of one text."""

# An underscore inside a word is no emphasis, and names are full of them.
_MARKUP = re.compile(r"[\\`*\[\]<>&|~$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|^(?:[#+=-]|\d{1,9}(?=[.)]))")


def one_line(text: str, *, limit: int = _LIMIT) -> str:
    """Return a string as one line, without control characters, and cut if it is long.

    Args:
        text: Any text.
        limit: Maximum number of characters.
    """
    line = visible(" ".join(text[: 4 * limit].split()))
    return line if len(line) <= limit and len(text) <= 4 * limit else f"{line[: limit - 3]}..."


def as_text(text: str, *, limit: int = _LIMIT) -> str:
    """Return Markdown that shows a string as it is: no heading, link, table cell, HTML or formula comes of it.

    Args:
        text: Any text.
        limit: Maximum number of characters of it.
    """
    return _MARKUP.sub(_escaped, one_line(text, limit=limit))


def as_code(text: str) -> str:
    """Return a code span that shows a string as it is."""
    line = one_line(text)
    # The fence is longer than any run of backticks inside; spaces keep one at an end from joining it.
    longest = max((len(run) for run in re.findall("`+", line)), default=0)
    padding = " " if "`" in line or not line else ""
    return f"{'`' * (longest + 1)}{padding}{line}{padding}{'`' * (longest + 1)}"


def _escaped(match: re.Match[str]) -> str:
    character = match[0]
    # Markdown has no escape for digits at the start of a line; the mark behind them is what makes a list.
    return f"&#{ord(character[0])};{character[1:]}" if character[0].isdigit() else f"\\{character}"
