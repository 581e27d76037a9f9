"""Atomic writing: a reader sees the old file or the new one, never a part."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from uuid import uuid4

from endofm.address import was_address
from endofm.errors import InputError

PARTIAL_PREFIX = ".partial-"
"""Prefix of a file's name while it is being written."""

_PARTIAL_NAME = re.compile(rf"{re.escape(PARTIAL_PREFIX)}[0-9a-f]{{8}}-")


def write_text(path: str | Path, text: str) -> None:
    """Create or replace a UTF-8 text file; it appears under its name only when it is complete.

    Names of files in the text that are not UTF-8 keep their bytes.
    """
    write_pieces(path, [text])


def write_pieces(path: str | Path, pieces: Iterable[str]) -> None:
    """Do the same as :func:`write_text` with pieces that are never in memory all at once."""
    with (
        atomic_path(path) as temporary,
        temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="\n") as file,
    ):
        file.writelines(pieces)


def require_writable(target: str | Path) -> None:
    """Raise unless a file or folder of this name can be written; to be called before the work that ends in it.

    Nothing is created.

    Args:
        target: A file or folder, which may exist, as may any of the folders above it.

    Raises:
        InputError: If it cannot be written.
    """
    target = folder = Path(target)
    try:
        while not folder.exists():
            folder = folder.parent
        if folder.is_file() and folder == target:
            folder = folder.parent
        # Permission bits say little: a file system can be read-only, and an administrator may write to most folders.
        with TemporaryFile(dir=folder):
            pass
    except NotADirectoryError as error:
        raise InputError(f"{target}: cannot be written, because {folder} is not a folder") from error
    except OSError as error:
        raise InputError(f"{target}: cannot be written ({error.strerror or error})") from error


def remove_partial(folder: Path, *, below: bool = False) -> None:
    """Remove incomplete files of a killed process, and incomplete folders that :func:`atomic_path` was to rename.

    Args:
        folder: Folder to search; it may be missing.
        below: Search all folders below it as well.
    """
    for leftover in list((folder.rglob if below else folder.glob)(f"{PARTIAL_PREFIX}*")):
        if not leftover.is_dir():
            leftover.unlink(missing_ok=True)
        # A folder of a name that merely begins like ours is not half-written.
        elif _PARTIAL_NAME.match(leftover.name):
            shutil.rmtree(leftover, ignore_errors=True)


@contextmanager
def atomic_path(target: str | Path) -> Iterator[Path]:
    """Yield a temporary path next to ``target``; on success rename it to ``target``, on failure remove it.

    The temporary name keeps the target's suffix, by which many writers choose a format, and begins with
    ``PARTIAL_PREFIX``, which identifies the leftovers of a killed process. What is created there may be a file or a
    folder. A file replaces the target in one step; an old folder is moved away first, so that a process that is killed
    at that moment leaves neither.

    Args:
        target: File or folder to create or replace. Its folder is created if missing.

    Yields:
        The path to write to.

    Raises:
        InputError: If the target cannot be created or replaced.
    """
    target = Path(target)
    if ":/" in target.as_posix() and was_address(target):
        raise InputError(f"{target}: this file is written to a folder of this machine, not to an address; name a path")
    temporary = _partial_name(target)
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        # Before the content is made, and not by its writer: many report a folder of no use to them in their own ways.
        temporary.touch()
        temporary.unlink()
    try:
        yield temporary
        with writing(target):
            # The content has to be on disk before the name: after a power cut the new name could belong to an empty
            # file.
            for path in [temporary] if temporary.is_file() else temporary.rglob("*"):
                if path.is_file():
                    with path.open("rb+") as file:
                        os.fsync(file.fileno())
            old = _partial_name(target) if target.is_dir() and temporary.is_dir() else None
            if old is not None:
                target.replace(old)
            temporary.replace(target)
            if old is not None:
                shutil.rmtree(old)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary)
        temporary.unlink(missing_ok=True)


def _partial_name(target: Path) -> Path:
    return target.with_name(f"{PARTIAL_PREFIX}{uuid4().hex[:8]}-{target.name}")


@contextmanager
def writing(target: Path) -> Iterator[None]:
    """Turn what the operating system says about writing a file or folder into an InputError that names it."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{target}: cannot be written ({error.strerror or error})") from error


def free_bytes(path: str | Path) -> int:
    """Return the space that is left where a path is, or would be created."""
    path = Path(path).absolute()
    return shutil.disk_usage(next(parent for parent in (path, *path.parents) if parent.exists())).free


def size_text(count: float) -> str:
    """Return a number of bytes for people, such as ``9.2 GB``."""
    unit, name = next(((unit, name) for unit, name in ((1e9, "GB"), (1e6, "MB")) if count >= unit), (1e3, "kB"))
    return f"{count / unit:,.1f} {name}"
