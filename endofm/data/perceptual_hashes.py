"""Perceptual hashes of frames: equal content has close hashes, whatever its codec, size or quality.

A hash holds the signs of the 128 lowest frequencies (without the mean) of the cosine transform of the grey frame at
32 x 32 pixels. Only the middle of the frame counts, because recordings of one scope share border and text panel.
``python -m benchmarks frame-hashes`` measures the distances of copies and of others; see ``docs/data/check.md``.

``hashes.npz``, next to a set's manifest, stores the hashes of its clips.
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
"""Hash of a frame without content: black, white, or blurred beyond recognition. It matches no other."""

MIDDLE = 0.75
"""Fraction of height and width that is hashed."""

_SIDE, _LOW = 32, 16
_MIN_CONTRAST = 3.0
"""Standard deviation, in grey levels, below which a frame has no content."""


def _cosines() -> npt.NDArray[np.float32]:
    """Return the first rows of the type-II cosine transform, unscaled: only signs are used."""
    k, x = np.arange(_LOW)[:, None], np.arange(_SIDE)[None]
    return np.cos(np.pi * k * (x + 0.5) / _SIDE).astype(np.float32)


def _lowest() -> npt.NDArray[np.intp]:
    """Return the indices of the lowest frequencies in the flattened block of low ones, without the mean."""
    y, x = np.mgrid[:_LOW, :_LOW]
    # By diagonals, like JPEG's zigzag: ordered by the sum of both frequencies.
    order = np.lexsort((x.ravel(), y.ravel(), (x + y).ravel()))
    return order[1 : HASH_BITS + 1]


_COSINES = _cosines()
_LOWEST = _lowest()


def frame_hash(frame: UInt8Array) -> int:
    """Return the hash of a frame.

    Args:
        frame: uint8 ``(height, width, 3)``, RGB.

    Returns:
        An integer of 128 bits; :data:`BLANK` if the frame has no content.
    """
    height, width = frame.shape[:2]
    margin = (1 - MIDDLE) / 2
    middle = (width * margin, height * margin, width * (1 - margin), height * (1 - margin))
    small = Image.fromarray(frame).convert("L").resize((_SIDE, _SIDE), Image.Resampling.BOX, box=middle)
    grey = np.asarray(small, np.float32)
    if grey.std() < _MIN_CONTRAST:
        return BLANK
    # The transform is separable: rows, then columns.
    spectrum = _COSINES @ grey @ _COSINES.T
    bits = spectrum.ravel()[_LOWEST] > 0
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def pack_hashes(hashes: list[int]) -> UInt64Array:
    """Return hashes as uint64 ``(count, 2)``."""
    data = b"".join(value.to_bytes(HASH_BITS // 8, "big") for value in hashes)
    return np.frombuffer(data, ">u8").astype(np.uint64).reshape(-1, 2)


# Number of set bits of every 16-bit value; numpy has its own count from version 2 on only.
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
"""Interval of the hashed frames of a video clip. Neighbouring frames hardly differ, so a copy that starts at another
frame is found as well. In a folder of stills every frame is hashed."""


@dataclass(frozen=True, eq=False)
class ClipHashes:
    """Hashes of the clips of a set.

    Attributes:
        hashes: uint64 ``(count, 2)``, clip after clip, in order of time within each.
        ends: int64 ``(clips,)``, end index of the hashes of each clip.
    """

    hashes: UInt64Array
    ends: npt.NDArray[np.int64]

    @classmethod
    def join(cls, clips: Sequence[Sequence[int]]) -> ClipHashes:
        """Return the hashes of clips that are given one by one."""
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
    """Return the stored hashes of a set, or None if there are none for these clips.

    Args:
        folder: The set's folder.
        rows: Its manifest.
    """
    try:
        with np.load(folder / HASHES_NAME, allow_pickle=False) as stored:
            # The manifest may have been edited since the hashes were written.
            if str(stored["clips"]) != _state(rows):
                return None
            hashes = ClipHashes(stored["hashes"], stored["ends"])
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile):
        return None
    complete = hashes.hashes.shape == (hashes.ends[-1] if len(hashes.ends) else 0, 2)
    return hashes if complete and hashes.hashes.dtype == np.uint64 and len(hashes.ends) == len(rows) else None


def _state(rows: Sequence[ClipRow]) -> str:
    """Return a string that changes with the clips and their content."""
    return hashlib.sha256("".join(f"{row.path}\n{row.sha256}\n" for row in rows).encode()).hexdigest()
