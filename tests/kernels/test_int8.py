"""Rounding to 8 bits: within half a step, and values that are not finite stay visible."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from endofm.config import EncoderConfig
from endofm.kernels import int8
from endofm.kernels.int8 import can_multiply_int8, quantise
from helpers.random_encoder import random_encoder

SMALL = EncoderConfig(img_size=32, num_frames=4, embed_dim=32, depth=3, num_heads=2)


@pytest.mark.parametrize("fast", [True, False])
@given(low=st.floats(-100, 50), width=st.floats(0, 100))
def test_rounding_to_bytes(fast: bool, low: float, width: float) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(int8, "_has_fast_rounding", lambda: fast)
        x = torch.linspace(low, low + width, 77).view(7, 11)
        rounded, step, zero = quantise(x)
    assert rounded.dtype == torch.uint8
    assert 0 <= zero <= 255
    back = step * (rounded.double() - zero)
    assert (back - x).abs().max() <= step * 0.501 + 1e-6
    assert step <= max(abs(low), abs(low + width), width) / 255 + 1e-6 or x.abs().max() == 0


def test_numbers_that_are_none_stay_visible_in_int8() -> None:
    if not can_multiply_int8():
        pytest.skip("no 8-bit products here")
    model = random_encoder(SMALL, "int8")
    with torch.no_grad():
        model.blocks[0].norm2.bias[3] = float("nan")  # type: ignore[union-attr, index, operator]
        assert not model(torch.randn(1, 3, 4, 32, 32)).isfinite().all()
