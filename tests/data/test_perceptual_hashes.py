"""Perceptual hashes: close for copies, far for other pictures."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from endofm.data.perceptual_hashes import (
    HASH_BITS,
    MATCH_BITS,
    differing_bits,
    frame_hash,
    pack_hashes,
)
from helpers.made_sets import picture


@settings(max_examples=25)
@given(video=st.integers(0, 50), scale=st.floats(0.5, 2), gain=st.floats(0.6, 1.0))
def test_a_hash_survives_scale_and_brightness(video: int, scale: float, gain: float) -> None:
    frame = picture(video, 3, 320, 240)
    size = round(320 * scale), round(240 * scale)
    other = np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.BILINEAR)) * gain
    a, b = pack_hashes([frame_hash(frame), frame_hash(other.astype(np.uint8))])
    assert differing_bits(a, b) <= MATCH_BITS


def test_hashes_of_other_recordings_are_far() -> None:
    hashes = pack_hashes([frame_hash(picture(video, 0)) for video in range(60)])
    bits = differing_bits(hashes[:, None], hashes[None])
    assert bits[~np.eye(60, dtype=bool)].min() > MATCH_BITS


@given(value=st.integers(0, 2**HASH_BITS - 1), other=st.integers(0, 2**HASH_BITS - 1))
def test_differing_bits_are_counted(value: int, other: int) -> None:
    packed = pack_hashes([value, other])
    assert differing_bits(packed[0], packed[1]) == bin(value ^ other).count("1")
