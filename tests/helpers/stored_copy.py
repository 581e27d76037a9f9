"""Copies of folders in a store in memory."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest


def stored_copy(folder: Path) -> str:
    """Copy all files of a folder into a store; return their common address."""
    memory = pytest.importorskip("fsspec").filesystem("memory")
    address = f"memory://{uuid4().hex}/{folder.name}"
    for file in folder.rglob("*"):
        if file.is_file():
            memory.pipe(f"{address}/{file.relative_to(folder).as_posix()}", file.read_bytes())
    return address
