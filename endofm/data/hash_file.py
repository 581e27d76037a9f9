"""``hashes.npz``: perceptual hashes of a set's clips, beside its manifest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from endofm.files import atomic_path

HASHES_NAME = "hashes.npz"


def write_hashes(folder: Path, hashes: Sequence[Sequence[int]]) -> None:
    """Write the hashes of a set, in the manifest's order.

    Args:
        folder: The set's folder.
        hashes: Per clip, hashes of some of its frames in order of time, each of 64 bits.
    """
    values = np.array([value for clip in hashes for value in clip], np.uint64)
    ends = np.cumsum([len(clip) for clip in hashes], dtype=np.int64)
    with atomic_path(folder / HASHES_NAME) as temporary, temporary.open("wb") as file:
        np.savez(file, hashes=values, ends=ends)
