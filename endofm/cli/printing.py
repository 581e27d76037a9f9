"""Printing of lines that hold text of others: names of files, labels, licences."""

from __future__ import annotations

import sys

from endofm.errors import visible


def say(*lines: str, error: bool = False) -> None:
    """Print lines; control characters in them are written out, so that none reaches the terminal.

    Args:
        lines: One line each; a line break inside a line is such a character, too.
        error: Print to the standard error.
    """
    for line in lines:
        print(visible(line), file=sys.stderr if error else sys.stdout, flush=error)
