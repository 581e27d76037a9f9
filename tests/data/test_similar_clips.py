"""Similar clips: the index finds the pairs that an exhaustive comparison finds."""

from __future__ import annotations

import numpy as np
import pytest

from endofm.data.perceptual_hashes import (
    BLANK,
    HASH_BITS,
    MATCH_BITS,
    ClipHashes,
    frame_hash,
)
from endofm.data.similar_clips import find_similar


def test_frames_that_show_nothing_match_nothing() -> None:
    assert frame_hash(np.zeros((50, 60, 3), np.uint8)) == BLANK
    noise = np.random.default_rng(0).integers(100, 104, (50, 60, 3), dtype=np.uint8)
    assert frame_hash(noise) == BLANK
    blank = ClipHashes.join([[BLANK] * 5, [BLANK] * 5])
    assert find_similar(blank, ["a", "b"]) == []
    assert find_similar(ClipHashes.join([]), []) == []


def _distance(a: int, b: int) -> int:
    return bin(a ^ b).count("1")


def _slow_similar(clips: list[list[int]], groups: list[str]) -> set[tuple[int, int]]:
    """Return what :func:`find_similar` should, by comparing every frame with every other."""
    found = set()
    for j in range(len(clips)):
        for i in range(j):
            matches = 0
            for fewer, more in ((clips[i], clips[j]), (clips[j], clips[i])):
                if len(fewer) <= len(more):
                    matches = sum(min(_distance(a, b) for b in more) <= MATCH_BITS for a in fewer)
                    length = len(fewer)
            if groups[i] != groups[j] and matches and matches >= max(min(2, length), 0.2 * length):
                found.add((i, j))
    return found


@pytest.mark.parametrize("seed", range(5))
def test_the_index_finds_what_comparing_everything_finds(seed: int) -> None:
    rng = np.random.default_rng(seed)

    def number() -> int:
        return int.from_bytes(rng.bytes(16), "big")

    def near(value: int) -> int:
        for bit in rng.choice(HASH_BITS, rng.integers(0, 6), replace=False):
            value ^= 1 << int(bit)
        return value

    clips = [[number() for _ in range(rng.integers(1, 12))] for _ in range(40)]
    for i in range(0, 30, 3):  # Some clips take a few frames from another.
        taken = [near(value) for value in clips[i + 1][: rng.integers(1, 4)]]
        clips[i][: len(taken)] = taken
    groups = [str((i + 1) // 2) for i in range(40)]
    found = {(s.first, s.second) for s in find_similar(ClipHashes.join(clips), groups)}
    assert found == _slow_similar(clips, groups)
    assert found
