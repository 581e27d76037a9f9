"""``hashes.npz``: perceptual hashes of a set's clips, beside its manifest."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from endofm.data.hashing import UInt64Array, pack_hashes
from endofm.data.manifest import ClipRow
from endofm.files import atomic_path

HASHES_NAME = "hashes.npz"
HASH_EVERY = 5
"""Every how many frames of a video clip are hashed. Neighbours hardly differ, so that a copy that begins elsewhere is
found as well; of a folder of stills every frame is hashed."""


@dataclass(frozen=True, eq=False)
class ClipHashes:
    """Hashes of the clips of a set.

    Attributes:
        hashes: uint64 ``(count, 2)``, clip after clip, in order of time within each.
        ends: int64 ``(clips,)``, where the hashes of each clip end.
    """

    hashes: UInt64Array
    ends: npt.NDArray[np.int64]

    @classmethod
    def join(cls, clips: Sequence[Sequence[int]]) -> ClipHashes:
        """Return the hashes of clips, given one by one."""
        hashes = pack_hashes([value for clip in clips for value in clip])
        return cls(hashes, np.cumsum([len(clip) for clip in clips], dtype=np.int64))


def write_hashes(folder: Path, rows: Sequence[ClipRow], hashes: ClipHashes) -> None:
    """Write the hashes of a set.

    Args:
        folder: The set's folder.
        rows: Its manifest.
        hashes: Hashes in the order of ``rows``.
    """
    with atomic_path(folder / HASHES_NAME) as temporary, temporary.open("wb") as file:
        np.savez(file, hashes=hashes.hashes, ends=hashes.ends, clips=np.array(_state(rows)))


def read_hashes(folder: Path, rows: Sequence[ClipRow]) -> ClipHashes | None:
    """Return the stored hashes, or None if there are none that belong to these clips."""
    try:
        with np.load(folder / HASHES_NAME, allow_pickle=False) as stored:
            if str(stored["clips"]) != _state(rows):
                return None
            found = ClipHashes(stored["hashes"], stored["ends"])
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile):
        return None
    whole = found.hashes.shape == (found.ends[-1] if len(found.ends) else 0, 2)
    return found if whole and found.hashes.dtype == np.uint64 and len(found.ends) == len(rows) else None


def _state(rows: Sequence[ClipRow]) -> str:
    """Return a text that changes with the clips and their content."""
    return hashlib.sha256("".join(f"{row.path}\n{row.sha256}\n" for row in rows).encode()).hexdigest()
