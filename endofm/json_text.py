"""JSON from outside: parsed with limits, so that no file can exhaust the stack or the memory of whoever reads it.

Every JSON text that the package reads goes through :func:`parse_json` or :func:`read_json`. Both raise ``ValueError``
for whatever is wrong with the text; callers turn it into an error of ours that names the file.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

MAX_BYTES = 256 * 2**20
"""Largest text that is parsed. The manifest of 100,000 videos has about 30 MB."""

MAX_DEPTH = 64
"""Deepest nesting of lists and objects; files of the package nest five deep."""


def parse_json(text: str | bytes) -> Any:
    """Return the value of a JSON text.

    A byte-order mark, as Windows editors write it, is skipped.

    Args:
        text: The text, or its UTF-8 bytes.

    Raises:
        ValueError: If the text is not JSON, not UTF-8, too long, or nested too deeply.
    """
    if len(text) > MAX_BYTES:
        raise ValueError(f"the JSON text is longer than {MAX_BYTES // 2**20} MiB")
    decoded = text.decode("utf-8-sig") if isinstance(text, bytes) else text.removeprefix("\ufeff")
    try:
        value = json.loads(decoded)
    except RecursionError:
        # The parser stops at the interpreter's own limit, far above ours; the stack is whole again here.
        raise ValueError(f"lists and objects are nested more than {MAX_DEPTH} deep") from None
    _require_shallow(value)
    return value


def read_json(path: str | Path) -> Any:
    """Return the value of a JSON file.

    Args:
        path: A regular file.

    Raises:
        OSError: If the file cannot be read.
        ValueError: As :func:`parse_json`; a file that is too long is not read.
    """
    with Path(path).open("rb") as file:
        return parse_json(file.read(MAX_BYTES + 1))


def _require_shallow(value: Any) -> None:
    """Raise ValueError if lists and objects are nested too deeply for code that walks them recursively."""
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        # One level at a time: a loop has no stack to exhaust, whatever the text holds.
        level = [
            item
            for container in level
            if isinstance(container, (dict, list))
            for item in (container.values() if isinstance(container, dict) else container)
        ]
        if not level:
            return
    raise ValueError(f"lists and objects are nested more than {MAX_DEPTH} deep")
