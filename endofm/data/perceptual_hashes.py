"""Perceptual hashes of frames: equal content gives close hashes, whatever codec, size or quality it is stored in.

A hash holds the signs of the 128 lowest frequencies (without the mean) of the cosine transform of the grey frame at
32 x 32 pixels. Only the middle of the frame counts, because recordings of one scope share border and text panel.
``python -m benchmarks frame-hashes`` measures the distances of copies and other recordings; see ``docs/data/check.md``.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from endofm.data.manifest import ClipRow
from endofm.files import atomic_path
from endofm.video.frames import UInt8Array

UInt64Array = npt.NDArray[np.uint64]

HASH_BITS = 128
MATCH_BITS = 14
"""Largest number of differing bits at which two frames count as the same picture."""

BLANK = 0
"""Hash of a frame that shows nothing: black, white, or blurred beyond recognition. It matches no other."""

MIDDLE = 0.75
"""Share of height and width that is looked at."""

_SIDE, _LOW = 32, 16
_MIN_CONTRAST = 3.0
"""Standard deviation, in grey levels, below which a frame shows nothing."""


def _cosines() -> npt.NDArray[np.float32]:
    k, x = np.arange(_LOW)[:, None], np.arange(_SIDE)[None]
    return np.cos(np.pi * k * (x + 0.5) / _SIDE).astype(np.float32)


def _lowest() -> npt.NDArray[np.intp]:
    """Return the positions of the lowest frequencies in the flattened low block, the mean left out."""
    y, x = np.mgrid[:_LOW, :_LOW]
    order = np.lexsort((x.ravel(), y.ravel(), (x + y).ravel()))
    return order[1 : HASH_BITS + 1]


_COSINES = _cosines()
_LOWEST = _lowest()


def frame_hash(frame: UInt8Array) -> int:
    """Return the hash of a frame.

    Args:
        frame: uint8 ``(height, width, 3)``, RGB.

    Returns:
        A number of 128 bits; :data:`BLANK` if the frame shows nothing.
    """
    height, width = frame.shape[:2]
    margin = (1 - MIDDLE) / 2
    middle = (width * margin, height * margin, width * (1 - margin), height * (1 - margin))
    small = Image.fromarray(frame).convert("L").resize((_SIDE, _SIDE), Image.Resampling.BOX, box=middle)
    grey = np.asarray(small, np.float32)
    if grey.std() < _MIN_CONTRAST:
        return BLANK
    spectrum = _COSINES @ grey @ _COSINES.T
    bits = spectrum.ravel()[_LOWEST] > 0
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def pack_hashes(hashes: list[int]) -> UInt64Array:
    """Return hashes as uint64 ``(count, 2)``."""
    data = b"".join(value.to_bytes(HASH_BITS // 8, "big") for value in hashes)
    return np.frombuffer(data, ">u8").astype(np.uint64).reshape(-1, 2)


_BITS_OF = np.array([bin(value).count("1") for value in range(1 << 16)], np.uint8)


def differing_bits(a: UInt64Array, b: UInt64Array) -> npt.NDArray[np.uint16]:
    """Return the number of bits in which packed hashes differ.

    Args:
        a: uint64 ``(..., 2)``.
        b: uint64 ``(..., 2)``; the two are broadcast.

    Returns:
        uint16 ``(...)``, 0 to 128.
    """
    counts: npt.NDArray[np.uint16] = _BITS_OF[(a ^ b).view(np.uint16)].sum(axis=-1, dtype=np.uint16)
    return counts


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
