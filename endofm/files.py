"""Writing files so that a reader never sees half of one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

PARTIAL_PREFIX = ".partial-"
"""How the name of a file begins while it is being written."""


def write_text(path: str | Path, text: str) -> None:
    """Create or replace a UTF-8 text file; it appears under its name only when it is complete."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def remove_partial(folder: Path, *, below: bool = False) -> None:
    """Remove the files that a killed process left half written.

    Args:
        folder: Where to look; nothing is done if it does not exist.
        below: Look in all folders below it as well.
    """
    for leftover in (folder.rglob if below else folder.glob)(f"{PARTIAL_PREFIX}*"):
        leftover.unlink(missing_ok=True)


@contextmanager
def atomic_path(target: str | Path) -> Iterator[Path]:
    """Give a temporary path beside ``target``; on success rename it to ``target``, on failure remove it.

    The temporary name keeps the target's suffix, because many writers choose a format by it, and begins with
    ``PARTIAL_PREFIX``, by which leftovers of a killed process can be told.

    Args:
        target: File to create or replace. Its folder is created if missing.

    Yields:
        The path to write to.
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f"{PARTIAL_PREFIX}{uuid4().hex[:8]}-{target.name}")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
