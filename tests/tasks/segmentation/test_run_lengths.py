"""Run lengths, against pycocotools."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from endofm.errors import InputError
from endofm.tasks.segmentation import run_lengths


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    seed=st.integers(0, 10**6),
    share=st.sampled_from([0, 0.02, 0.5, 1]),
)
def test_run_lengths_are_those_of_pycocotools(height: int, width: int, seed: int, share: float) -> None:
    mask = np.random.default_rng(seed).random((height, width)) < share
    text = run_lengths.encode(mask)
    assert text == coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
    np.testing.assert_array_equal(run_lengths.decode(text, height, width), mask)


@pytest.mark.parametrize("text", ["0", "!", "o", "9" * 40])
def test_damaged_run_lengths_are_refused(text: str) -> None:
    with pytest.raises(InputError):
        run_lengths.decode(text, 5, 7)
