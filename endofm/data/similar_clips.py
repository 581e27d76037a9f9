"""Recordings that show the same thing, found by their hashes without comparing every clip with every other.

Frames are put into an index under six parts of their hash, so that two hashes which differ in at most five bits meet
under at least one part, and those that differ in a few more still mostly do. Only frames that meet are compared; only
recordings with frames that match are compared clip by clip.
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
"""How many frames that follow under the same part a frame is compared with. Bounds the work where thousands of
recordings show one picture (a logo, a test image): they are then found as a chain, not as every pair."""

MIN_SHARE = 0.2
MIN_FRAMES = 2
_ROWS = 256


@dataclass(frozen=True)
class Similar:
    """Two clips of different recordings that show the same.

    Attributes:
        first: Position of the one clip.
        second: Position of the other, larger than ``first``.
        share: Share of the hashed frames of the clip with fewer of them that are found in the other.
        bits: Median number of bits in which these frames differ, out of 128.
    """

    first: int
    second: int
    share: float
    bits: float


def find_similar(hashes: ClipHashes, groups: Sequence[str]) -> list[Similar]:
    """Return the pairs of clips of different groups that share at least a fifth of their frames, and at least two.

    A clip of a single hashed frame is similar if that frame is found.

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
    shows = np.flatnonzero(hashes.hashes.any(axis=1))
    members = np.split(np.argsort(group_of_clip, kind="stable"), np.cumsum(np.bincount(group_of_clip))[:-1])
    found: list[Similar] = []
    for one, other in _pairs_of_groups(hashes.hashes, shows, np.repeat(group_of_clip, counts)):
        found += _compare(hashes.hashes, starts, counts, members[one], members[other])
    return sorted(found, key=lambda similar: (similar.first, similar.second))


def _pairs_of_groups(hashes: UInt64Array, shows: Int64Array, groups: Int64Array) -> list[tuple[int, int]]:
    """Return the pairs of groups of which at least one frame matches.

    Args:
        hashes: All hashes.
        shows: Positions of those that are not blank.
        groups: Group of each hash.
    """
    bits = np.unpackbits(hashes[shows].astype(">u8").view(np.uint8), axis=1).reshape(len(shows), HASH_BITS)
    total = int(groups.max()) + 1
    codes: set[int] = set()
    for part in range(_PARTS):
        own = bits[:, part::_PARTS].astype(np.int64)
        keys = own @ (1 << np.arange(own.shape[1], dtype=np.int64))
        # Of a recording that stands still, one frame under each key will do.
        _, first = np.unique(np.stack([keys, groups[shows]]), axis=1, return_index=True)
        order = first[np.argsort(keys[first], kind="stable")]
        keys, frames = keys[order], shows[order]
        for offset in range(1, _NEIGHBOURS + 1):
            meet = np.flatnonzero(keys[offset:] == keys[:-offset])
            if len(meet) == 0:
                break
            a, b = frames[meet], frames[meet + offset]
            match = (groups[a] != groups[b]) & (differing_bits(hashes[a], hashes[b]) <= MATCH_BITS)
            low, high = np.minimum(groups[a], groups[b])[match], np.maximum(groups[a], groups[b])[match]
            codes.update(np.unique(low * total + high).tolist())
    return [divmod(code, total) for code in sorted(codes)]


def _compare(
    hashes: UInt64Array, starts: Int64Array, counts: Int64Array, one: Int64Array, other: Int64Array
) -> Iterator[Similar]:
    """Yield the similar pairs among the clips of two groups."""
    others = np.concatenate([np.arange(starts[clip], starts[clip] + counts[clip]) for clip in other])
    edges = np.cumsum(counts[other])[:-1]
    shown_others = hashes[others].any(axis=1)
    for clip in one:
        own = hashes[starts[clip] : starts[clip] + counts[clip]]
        own = own[own.any(axis=1)]
        best_own = np.full((len(own), len(other)), HASH_BITS, np.uint16)
        best_other = np.full(len(others), HASH_BITS, np.uint16)
        for low in range(0, len(own), _ROWS):
            rows = slice(low, low + _ROWS)
            bits = differing_bits(own[rows, None], hashes[others][None])
            bits[:, ~shown_others] = HASH_BITS
            best_other = np.minimum(best_other, bits.min(axis=0))
            best_own[rows] = np.stack([part.min(axis=1, initial=HASH_BITS) for part in np.split(bits, edges, 1)], 1)
        shown = np.split(shown_others, edges)
        for place, part in enumerate(np.split(best_other, edges)):
            mine, theirs = best_own[:, place], part[shown[place]]
            fewer = mine if len(mine) <= len(theirs) else theirs
            match = fewer[fewer <= MATCH_BITS]
            if len(match) and len(match) >= max(min(MIN_FRAMES, len(fewer)), MIN_SHARE * len(fewer)):
                first, second = sorted((int(clip), int(other[place])))
                yield Similar(first, second, len(match) / len(fewer), float(np.median(match)))
