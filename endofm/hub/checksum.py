"""Checksums of files: sha256, and the object names that the hub uses as ETags."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

from endofm.errors import ChecksumError

_CHUNK = 1 << 20


def file_sha256(path: str | Path) -> str:
    """Return the sha256 of a file in hexadecimal."""
    return _digest(Path(path), hashlib.sha256())


def matches_etag(path: Path, etag: str) -> bool:
    """Say whether a file is the one that the hub describes by this ETag.

    Large files have their sha256 as ETag, small ones the name of their git object (sha1 over a header and the
    content). Any other ETag says nothing about the content and matches.

    Args:
        path: File to check.
        etag: ETag without quotes.
    """
    if re.fullmatch(r"[0-9a-f]{64}", etag):
        return file_sha256(path) == etag
    if re.fullmatch(r"[0-9a-f]{40}", etag):
        header = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
        return _digest(path, header) == etag
    return True


def require_sha256(path: Path, expected: str, *, what: str) -> None:
    """Raise unless a file has the expected sha256.

    Args:
        path: File to check.
        expected: sha256 in hexadecimal.
        what: Name of the file for the message, e.g. its address.

    Raises:
        ChecksumError: If it has another one.
    """
    found = file_sha256(path)
    if found != expected:
        with path.open("rb") as file:
            start = file.read(64).lstrip()
        hint = (
            "It is a web page, not the file; the address probably needs a browser."
            if start[:1] == b"<"
            else "The file is damaged or is another version."
        )
        raise ChecksumError(f"{what}: the sha256 is {found}, but {expected} is recorded for it. {hint}")


def _digest(path: Path, state: Any) -> str:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            state.update(chunk)
    return str(state.hexdigest())
