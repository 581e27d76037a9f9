"""Finding videos and folders of frames on disk, in natural order."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})
VIDEO_SUFFIXES = frozenset(
    [
        *(".3gp", ".asf", ".avi", ".dv", ".flv", ".gif", ".m2ts", ".m2v", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg"),
        *(".mpg", ".mts", ".mxf", ".ogv", ".ts", ".vob", ".webm", ".wmv"),
    ]
)
"""Suffixes by which videos are recognised in a folder; a file that is given directly may have any suffix."""


def natural_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """Return a sorting key in which numbers count as numbers, and before letters: ``img_2`` before ``img_10``."""
    # Every second part is a run of ASCII digits; other digits, such as a superscript two, count as letters.
    parts = re.split(r"([0-9]+)", name)
    return tuple((0, int(part), part) if index % 2 else (1, 0, part) for index, part in enumerate(parts) if part)


def naturally(names: Iterable[str]) -> list[str]:
    """Return names in natural order."""
    return sorted(names, key=natural_key)


def walk(root: Path) -> tuple[list[str], list[str]]:
    """Find video files and folders of images below ``root``.

    Returns:
        Relative paths with forward slashes in natural order: video files, and folders that directly hold images
        (``"."`` for ``root`` itself). Hidden files and folders are left out.
    """
    videos, folders = [], []
    # Links are followed, and a folder is searched once: a link to a folder above it would repeat everything for ever.
    visited = {_identity(root)}
    for current, subfolders, files in os.walk(root, followlinks=True):
        # In place: os.walk then does not descend into hidden folders. In order, so that the first of several names of
        # a folder is the same on every system.
        subfolders[:] = [name for name in naturally(subfolders) if not name.startswith(".")]
        new = {name: _identity(Path(current, name)) for name in subfolders}
        for name, identity in list(new.items()):
            if identity in visited:
                del new[name]
            visited.add(identity)
        subfolders[:] = list(new)
        relative = Path(current).relative_to(root)
        suffixes = [(name, Path(name).suffix.lower()) for name in files if not name.startswith(".")]
        videos += [(relative / name).as_posix() for name, suffix in suffixes if suffix in VIDEO_SUFFIXES]
        if any(suffix in IMAGE_SUFFIXES for _, suffix in suffixes):
            folders.append(relative.as_posix())
    return naturally(videos), naturally(folders)


def _identity(folder: Path) -> tuple[int, int] | str:
    """Return what a folder is, whatever the path to it: device and number, or its resolved path without these."""
    try:
        state = folder.stat()
    except OSError:
        return str(folder)
    return (state.st_dev, state.st_ino) if state.st_ino else str(folder.resolve())
