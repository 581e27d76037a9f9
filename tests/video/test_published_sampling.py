"""Frame sampling of the published code, compared with indices that the published code gave."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from endofm.errors import InputError
from endofm.video.published_sampling import pick_indices, published_clip
from helpers import paths

CASES = json.loads((paths.GOLDEN / "decoding_indices.json").read_text())["clip"]


@pytest.mark.parametrize("case", CASES, ids=range(len(CASES)))
def test_indices_are_those_of_the_published_code(case: dict) -> None:
    count, tick = case["n"], case["tick"]
    draws = iter(case["uniform_draws"])

    def uniform(low: float, high: float) -> float:
        expected_low, expected_high, value = next(draws)
        assert (low, high) == pytest.approx((expected_low, expected_high))
        return value

    clip = published_clip(
        np.arange(count) * tick,
        case["fps"][0] / case["fps"][1],
        duration_pts=count * tick if case["has_duration"] else None,
        clip_idx=case["clip_idx"],
        num_clips=case["num_clips"],
        uniform=uniform,
    )
    assert clip.indices.tolist() == case["indices"]
    kept, first, last = case["decoded_count_first_last"]
    assert (clip.decoded[1] - clip.decoded[0], clip.decoded[0], clip.decoded[1] - 1) == (kept, first, last)
    if case["has_duration"]:
        assert clip.seek_pts == case["seek"][0]


@given(start=st.floats(0, 5000), span=st.floats(0, 900), frames=st.integers(1, 40))
def test_the_last_bit_is_that_of_torch(start: float, span: float, frames: int) -> None:
    expected = torch.linspace(start, start + span, frames).clamp(0, 4000).long()
    assert pick_indices(start, start + span, frames, 4001).tolist() == expected.tolist()


def test_frames_of_published_evaluation() -> None:
    """classification.md: 30 fps videos that are long enough, and two that are too short."""
    expected = {
        900: [0, 36, 72, 109, 145, 182, 218, 255],
        150: [0, 36, 72, 109, 145, 149, 149, 149],
        40: [0, 36, 39, 39, 39, 39, 39, 39],
    }
    for total, indices in expected.items():
        clip = published_clip(np.arange(total) * 512, 30.0, duration_pts=total * 512)
        assert clip.indices.tolist() == indices


def test_wrong_values() -> None:
    with pytest.raises(InputError, match="needs the argument uniform"):
        published_clip([0, 1], 30, duration_pts=2, clip_idx=-1)
    with pytest.raises(InputError, match="at least one frame"):
        published_clip([], 30, duration_pts=None)
    with pytest.raises(InputError, match="num_clips"):
        published_clip([0, 1], 30, duration_pts=2, clip_idx=1)
