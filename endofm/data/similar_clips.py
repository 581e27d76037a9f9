"""Near-duplicate recordings, found by perceptual hashes without comparing every clip with every other.

Frames are indexed under six parts of their hash. Two hashes that differ in at most five bits agree in at least one
part (five bits cannot touch six parts), and those that differ in a few more bits mostly do. Only frames that agree in
a part are compared; only recordings with matching frames are compared clip by clip.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from endofm.data.perceptual_hashes import HASH_BITS, MATCH_BITS, ClipHashes, UInt64Array, differing_bits

Int64Array = npt.NDArray[np.int64]

_PARTS = 6
_NEIGHBOURS = 64
"""Number of following frames under the same part that a frame is compared with. Bounds the work where thousands of
recordings show one picture (a logo, a test image): they are then found as a chain, not as every pair."""

MIN_FRACTION = 0.2
"""Smallest fraction of matching frames of the clip with fewer frames at which two clips are similar."""
MIN_FRAMES = 2
"""Smallest number of matching frames at which two clips are similar, unless one of them has a single hashed frame."""
_ROWS = 256
"""Frames compared at once with all frames of the other recording; bounds the memory of the distance matrix."""


@dataclass(frozen=True)
class Similar:
    """Two clips of different recordings with the same content.

    Attributes:
        first: Index of one clip.
        second: Index of the other, larger than ``first``.
        fraction: Fraction of the hashed frames of the clip with fewer of them that also occur in the other.
        bits: Median number of bits in which these frames differ, out of 128.
    """

    first: int
    second: int
    fraction: float
    bits: float


def find_similar(hashes: ClipHashes, groups: Sequence[str]) -> list[Similar]:
    """Return the pairs of clips of different groups that share at least a fifth of their frames, and at least two.

    A clip of a single hashed frame is similar if that frame occurs in the other clip.

    Args:
        hashes: Hashes of the clips.
        groups: Name of the recording of each clip; clips of one recording are not compared.

    Returns:
        Pairs in order of ``first`` and ``second``.
    """
    if len(hashes.hashes) == 0:
        return []
    starts = np.concatenate([[0], hashes.ends[:-1]]).astype(np.int64)
    counts = hashes.ends - starts
    numbers = {name: number for number, name in enumerate(dict.fromkeys(groups))}
    group_of_clip = np.array([numbers[name] for name in groups], np.int64)
    visible = np.flatnonzero(hashes.hashes.any(axis=1))
    members = np.split(np.argsort(group_of_clip, kind="stable"), np.cumsum(np.bincount(group_of_clip))[:-1])
    similar: list[Similar] = []
    for one, other in _pairs_of_groups(hashes.hashes, visible, np.repeat(group_of_clip, counts)):
        similar += _compare(hashes.hashes, starts, counts, members[one], members[other])
    return sorted(similar, key=lambda pair: (pair.first, pair.second))


def _pairs_of_groups(hashes: UInt64Array, visible: Int64Array, groups: Int64Array) -> list[tuple[int, int]]:
    """Return the pairs of groups with at least one matching frame.

    Args:
        hashes: All hashes.
        visible: Indices of those that are not blank.
        groups: Group of each hash.
    """
    bits = np.unpackbits(hashes[visible].astype(">u8").view(np.uint8), axis=1).reshape(len(visible), HASH_BITS)
    total = int(groups.max()) + 1
    codes: set[int] = set()
    for part in range(_PARTS):
        # Every sixth bit, so that each part mixes low and high frequencies; read as a binary number it is the key.
        part_bits = bits[:, part::_PARTS].astype(np.int64)
        keys = part_bits @ (1 << np.arange(part_bits.shape[1], dtype=np.int64))
        # Of a recording that stands still, one frame under each key is enough.
        _, first = np.unique(np.stack([keys, groups[visible]]), axis=1, return_index=True)
        order = first[np.argsort(keys[first], kind="stable")]
        keys, frames = keys[order], visible[order]
        # Equal keys are now neighbours: shifting the list by `offset` pairs each frame with its offset-th successor.
        for offset in range(1, _NEIGHBOURS + 1):
            meet = np.flatnonzero(keys[offset:] == keys[:-offset])
            if len(meet) == 0:
                break
            a, b = frames[meet], frames[meet + offset]
            match = (groups[a] != groups[b]) & (differing_bits(hashes[a], hashes[b]) <= MATCH_BITS)
            low, high = np.minimum(groups[a], groups[b])[match], np.maximum(groups[a], groups[b])[match]
            # One integer per pair of groups, undone by divmod below: sets of integers are fast.
            codes.update(np.unique(low * total + high).tolist())
    return [divmod(code, total) for code in sorted(codes)]


def _compare(
    hashes: UInt64Array, starts: Int64Array, counts: Int64Array, one: Int64Array, other: Int64Array
) -> Iterator[Similar]:
    """Yield the similar pairs among the clips of two groups."""
    # The frames of all clips of the other group in one array; `edges` separate the clips.
    others = np.concatenate([np.arange(starts[clip], starts[clip] + counts[clip]) for clip in other])
    edges = np.cumsum(counts[other])[:-1]
    visible_others = hashes[others].any(axis=1)
    for clip in one:
        own = hashes[starts[clip] : starts[clip] + counts[clip]]
        own = own[own.any(axis=1)]
        # The distance from each frame to the nearest one of the other clip, in both directions.
        best_own = np.full((len(own), len(other)), HASH_BITS, np.uint16)
        best_other = np.full(len(others), HASH_BITS, np.uint16)
        for low in range(0, len(own), _ROWS):
            rows = slice(low, low + _ROWS)
            bits = differing_bits(own[rows, None], hashes[others][None])
            # Blank frames match no other.
            bits[:, ~visible_others] = HASH_BITS
            best_other = np.minimum(best_other, bits.min(axis=0))
            best_own[rows] = np.stack([part.min(axis=1, initial=HASH_BITS) for part in np.split(bits, edges, 1)], 1)
        visible = np.split(visible_others, edges)
        for index, part in enumerate(np.split(best_other, edges)):
            own_bits, other_bits = best_own[:, index], part[visible[index]]
            # Of the clip with fewer frames, since a short copy may be a small fraction of a long recording.
            fewer = own_bits if len(own_bits) <= len(other_bits) else other_bits
            match = fewer[fewer <= MATCH_BITS]
            if len(match) and len(match) >= max(min(MIN_FRAMES, len(fewer)), MIN_FRACTION * len(fewer)):
                first, second = sorted((int(clip), int(other[index])))
                yield Similar(first, second, len(match) / len(fewer), float(np.median(match)))
