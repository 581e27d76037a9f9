"""Identity of files, whatever their paths: a file that is reached through a link, or copied, is one recording."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from endofm.errors import VideoError
from endofm.video.find import IMAGE_SUFFIXES
from endofm.video.images import open_image

_SAMPLE = 64 * 2**10
"""Bytes at both ends of a file that are compared before all of it is."""


def real_paths(paths: Sequence[Path]) -> list[str]:
    """Return the real path of each file or folder: absolute, without links, ``.`` and ``..``."""

    # Most files of a list are in a few folders, which are resolved once.
    @lru_cache(maxsize=4096)
    def real_folder(folder: str) -> str:
        return os.path.realpath(folder)

    def real(path: Path) -> str:
        try:
            if path.name in ("", "..") or path.is_symlink():
                return os.path.realpath(path)
            return str(Path(real_folder(str(path.parent)), path.name))
        except (OSError, ValueError):
            # A name that no file can have; it is reported where the file is opened.
            return str(path)

    return [real(path) for path in paths]


def identities(paths: Sequence[Path]) -> list[str]:
    """Return for each file a name that all paths to it, and all copies of it, have in common.

    Only files of equal size are compared, and first at both ends, so that sets without copies are hardly read. Folders
    of frames are copies if their frames are, in order. Files that do not exist, empty ones, and images of one colour
    are like no other.

    Args:
        paths: Files, or folders of frames, of all sets that are compared.
    """
    reals = real_paths(paths)
    groups = [list(dict.fromkeys(reals))]
    for measure in (_sizes, _ends, _checksum):
        groups = [copies for group in groups for copies in _equal(measure, group)]
    # Frames of one colour are equal in any two recordings.
    first = {real: copies[0] for copies in groups if not _is_one_colour(copies[0]) for real in copies}
    return [first.get(real, real) for real in reals]


def join_groups(groups: Sequence[str], files: Sequence[str]) -> list[str]:
    """Return the group of each clip after groups that have a file in common are made one, by the name of the first.

    Args:
        groups: Patient or video of each clip, as its list says.
        files: Its :func:`identities`.
    """
    parent: dict[str, str] = {}

    def root(group: str) -> str:
        while parent.setdefault(group, group) != group:
            group = parent[group]
        return group

    owner: dict[str, str] = {}
    for group, file in zip(groups, files, strict=True):
        one, other = root(owner.setdefault(file, group)), root(group)
        parent[other] = one
    return [root(group) for group in groups]


def _equal(measure: Callable[[str], Hashable | None], paths: Sequence[str]) -> list[list[str]]:
    """Return the groups of at least two paths for which a measure is equal; None is equal to nothing."""
    groups: dict[Hashable, list[str]] = defaultdict(list)
    for path in paths:
        try:
            value = measure(path)
        except (OSError, ValueError):
            value = None
        if value is not None:
            groups[value].append(path)
    return [group for group in groups.values() if len(group) > 1]


def _parts(path: str) -> list[Path]:
    """Return the file itself, or the files of a folder in the order of their names."""
    if not Path(path).is_dir():
        return [Path(path)]
    return sorted(part for part in Path(path).iterdir() if part.is_file() and not part.name.startswith("."))


def _sizes(path: str) -> Hashable | None:
    sizes = tuple(part.stat().st_size for part in _parts(path))
    return (Path(path).is_dir(), sizes) if any(sizes) else None


def _is_one_colour(path: str) -> bool:
    if Path(path).suffix.lower() not in IMAGE_SUFFIXES:
        return False
    try:
        with open_image(Path(path)) as image:
            return all(low == high for low, high in np.reshape(image.getextrema(), (-1, 2)))
    except VideoError:
        return False


def _ends(path: str) -> bytes:
    digest = hashlib.sha256()
    parts = _parts(path)
    # The last frame as well as the first: recordings of one procedure may begin with the same picture.
    for part in dict.fromkeys((parts[0], parts[-1])):
        with part.open("rb") as file:
            digest.update(file.read(_SAMPLE))
            file.seek(max(part.stat().st_size - _SAMPLE, 0))
            digest.update(file.read(_SAMPLE))
    return digest.digest()


def _checksum(path: str) -> bytes:
    digest = hashlib.sha256()
    for part in _parts(path):
        with part.open("rb") as file:
            while block := file.read(2**20):
                digest.update(block)
    return digest.digest()
