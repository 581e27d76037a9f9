"""Preprocessing against numbers of the original code (tests/golden/preprocess.npz), and its own laws."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from golden_fill import uint8_clip
from hypothesis import given, settings
from hypothesis import strategies as st

from endofm.config import PreprocessConfig
from endofm.errors import InputError
from endofm.transforms.functional import crop_square, normalize, resize_short_side
from endofm.transforms.geometry import Box
from endofm.transforms.processor import Processor

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "preprocess.npz")
SHAPES = {"land": (8, 240, 320, 3), "port": (8, 300, 260, 3), "square": (8, 224, 224, 3), "up": (8, 120, 161, 3)}
GREY = {"mean": (0.45, 0.45, 0.45), "std": (0.225, 0.225, 0.225)}
# Ours resizes before it normalises, the original after; both round to float32.
TOLERANCE = 2e-6


def check(clip: torch.Tensor, name: str) -> None:
    assert list(clip.shape) == GOLDEN[f"{name}/shape"].tolist()
    values = clip.numpy()
    np.testing.assert_allclose(values[:, ::3, ::9, ::9], GOLDEN[f"{name}/sub"], rtol=0, atol=TOLERANCE)
    exact = values.astype(np.float64)
    stats = [exact.mean(), exact.std(), exact.min(), exact.max(), np.abs(exact).sum()]
    np.testing.assert_allclose(stats, GOLDEN[f"{name}/stats"], rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize("name", SHAPES)
def test_evaluation_as_the_original_runs_it(name: str) -> None:
    config = PreprocessConfig(short_side=224, crop="upstream", **GREY)
    check(Processor(config)(uint8_clip(name, SHAPES[name])), f"val_{name}")


@pytest.mark.parametrize("name", ["land", "port"])
def test_centre_crop(name: str) -> None:
    check(Processor(PreprocessConfig(**GREY))(uint8_clip(name, SHAPES[name])), f"center256_{name}")


@pytest.mark.parametrize("position", [0, 1, 2])
@pytest.mark.parametrize("name", ["land", "port"])
def test_the_three_crops(name: str, position: int) -> None:
    resized = resize_short_side(uint8_clip(name, SHAPES[name]), 224)
    crop = normalize(crop_square(resized, 224, position), GREY["mean"], GREY["std"])  # type: ignore[arg-type]
    check(crop.permute(3, 0, 1, 2), f"test_{name}_{position}")


@settings(max_examples=30, deadline=None)
@given(height=st.integers(16, 90), width=st.integers(16, 90), upstream=st.booleans(), seed=st.integers(0, 99))
def test_a_frame_alone_is_the_frame_of_the_clip(height: int, width: int, upstream: bool, seed: int) -> None:
    frames = np.random.default_rng(seed).integers(0, 256, (2, height, width, 3), np.uint8)
    processor = Processor(PreprocessConfig(short_side=32, crop_size=28, crop="upstream" if upstream else "center"))
    clip = processor(frames)
    assert torch.equal(clip[:, 1], processor.prepare_frame(frames[1]))
    assert torch.equal(clip, processor(torch.from_numpy(frames)))
    # The reference order of torch: normalise the whole float frame, then interpolate it.
    whole = torch.from_numpy(frames).float().permute(0, 3, 1, 2)
    height, width = processor.geometry(height, width).resized
    whole = torch.nn.functional.interpolate(whole, (height, width), mode="bilinear", align_corners=False)
    crop = crop_square(whole.permute(0, 2, 3, 1), 28, 0 if upstream else 1)
    expected = normalize(crop, processor.config.mean, processor.config.std).permute(3, 0, 1, 2)
    torch.testing.assert_close(clip, expected, atol=1e-4, rtol=0)  # float32 coordinates


def test_a_known_square_is_found_again() -> None:
    frames = np.zeros((1, 300, 500, 3), np.uint8)
    frames[:, 100:160, 220:300] = 255
    box = Box(20, 60, 260, 400)
    processor = Processor(PreprocessConfig(short_side=120, crop_size=112))
    geometry = processor.geometry(300, 500, box)
    bright = processor(frames, box)[0, 0].numpy() > 0
    rows, columns = np.flatnonzero(bright.any(1)), np.flatnonzero(bright.any(0))
    found = geometry.to_source([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
    np.testing.assert_allclose(found, [220, 100, 300, 160], atol=geometry.scale.max())
    np.testing.assert_allclose(geometry.to_clip(geometry.to_source([[3.0, 7.5]])), [[3.0, 7.5]])
    back = geometry.mask_to_source(bright.astype(np.uint8))
    truth = frames[0, ..., 0] > 0
    overlap = (truth & (back > 0)).sum() / (truth | (back > 0)).sum()
    assert overlap > 0.93


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (np.zeros((8, 40, 40, 3), np.float32), "uint8"),
        (np.zeros((40, 40, 3), np.uint8), "time, height, width, 3"),
        (np.zeros((8, 3, 40, 40), np.uint8), r"\(8, 3, 40, 40\)"),
        (np.zeros((8, 8, 40, 3), np.uint8), "at least 16"),
        ("clip.mp4", "got str"),
    ],
)
def test_wrong_frames_are_refused(frames: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Processor(PreprocessConfig())(frames)  # type: ignore[arg-type]
