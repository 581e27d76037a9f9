"""Resizing equals PyTorch's bilinear interpolation, for every kind of frame and every part of the result."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from endofm.config import PreprocessConfig
from endofm.errors import ConfigError
from endofm.transforms.geometry import Box
from endofm.transforms.processor import Processor, resize

sides = st.integers(1, 60)


@given(
    source=st.tuples(sides, sides),
    target=st.tuples(sides, sides),
    leading=st.sampled_from([(), (1,), (3,), (2, 2)]),
    channels=st.sampled_from([1, 3]),
    bytes_=st.booleans(),
    data=st.data(),
)
def test_resize_is_interpolation(
    source: tuple[int, int],
    target: tuple[int, int],
    leading: tuple[int, ...],
    channels: int,
    bytes_: bool,
    data: st.DataObject,
) -> None:
    torch.manual_seed(0)
    height, width = source
    # A part of larger frames, as a field of view is: not in one piece in memory.
    large = torch.randint(0, 256, (*leading, height + 2, width + 3, channels), dtype=torch.uint8)
    frames = (large if bytes_ else large / 255)[..., 1 : height + 1, 2 : width + 2, :]
    kept = frames.clone()
    top, left = (data.draw(st.integers(0, side - 1)) for side in target)
    below, right = (data.draw(st.integers(a + 1, side)) for a, side in zip((top, left), target, strict=True))
    result = resize(frames, target, Box(top, left, below - top, right - left))
    planes = frames.reshape(-1, height, width, channels).permute(0, 3, 1, 2).float()
    expected = torch.nn.functional.interpolate(planes, size=target, mode="bilinear", align_corners=False)
    expected = expected[..., top:below, left:right].permute(0, 2, 3, 1)
    assert result.dtype == torch.float32
    assert result.shape == (*leading, below - top, right - left, channels)
    torch.testing.assert_close(result.reshape(expected.shape), expected, atol=2e-4 if bytes_ else 1e-6, rtol=0)
    assert torch.equal(frames, kept)


def test_a_bicubic_resize_is_that_of_pillow() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    expected = np.asarray(Image.fromarray(frame).resize((32, 32), Image.Resampling.BICUBIC), dtype=np.float32)
    config = PreprocessConfig.whole_frame(32, antialias=True, resample="bicubic", mean=(0, 0, 0), std=(1, 1, 1))
    found = 255 * Processor(config).prepare_frame(frame).permute(1, 2, 0)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1.001)
    assert np.abs(found.numpy() - expected).mean() < 0.01
    with pytest.raises(ConfigError, match="needs antialias"):
        PreprocessConfig(resample="bicubic")
