"""Text of others inside a model card: names, labels and licences are data there, and never markup.

Source: the rules of CommonMark 0.31 (https://spec.commonmark.org/0.31.2/) and of GitHub's tables.
"""

from __future__ import annotations

import re

from endofm.errors import visible

_LIMIT = 200
"""Largest number of characters that are shown of one text."""

_ENTITIES = {"<": "&lt;", ">": "&gt;", "&": "&amp;", "[": "&#91;", "]": "&#93;", "|": "&#124;"}
"""Characters of HTML, links and tables: as entities they are inert in every program that shows Markdown."""

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
    """Return a code span that shows a string as it is, or plain text if it holds more than a name does."""
    line = one_line(text)
    return f"`{line}`" if line and not set(line) & {"`", *_ENTITIES} else as_text(line)


def _escaped(match: re.Match[str]) -> str:
    character = match[0]
    # Markdown has no escape for digits at the start of a line; the mark behind them is what makes a list.
    if character[0].isdigit():
        return f"&#{ord(character[0])};{character[1:]}"
    return _ENTITIES.get(character, f"\\{character}")
