"""Preprocessing of the published segmentation model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from endofm.config import PreprocessConfig
from endofm.errors import ConfigError
from endofm.tasks.segmentation.layout import published_preprocess
from endofm.transforms.processor import Processor, stretch_values
from helpers.segmentation_fill import frame_files

CONFIG = published_preprocess()


def test_the_originals_frames(golden: dict[str, np.ndarray]) -> None:
    clip = Processor(CONFIG)(np.stack([frame_files(index)[0] for index in range(200, 206)]))
    frames = clip.transpose(0, 1).numpy()  # T C H W
    # One grey level of the resize, stretched: the original does it in Pillow.
    np.testing.assert_allclose(frames[:2, :, ::8, ::8], golden["data/image_strided"], rtol=0, atol=0.02)
    np.testing.assert_allclose(frames.mean((2, 3)), golden["data/image_channel_mean"], rtol=0, atol=2e-3)
    extremes = np.stack([frames.min((1, 2, 3)), frames.max((1, 2, 3))], axis=1)
    np.testing.assert_allclose(extremes, golden["data/image_min_max"], rtol=0, atol=1e-6)


def test_channels_are_turned_round_and_nothing_else() -> None:
    frame = frame_files(200)[0]
    rgb = Processor(replace(CONFIG, channels="rgb")).prepare_frame(frame)
    assert torch.equal(Processor(CONFIG).prepare_frame(frame), rgb.flip(0))


def test_a_constant_frame_gives_numbers() -> None:
    clip = Processor(CONFIG)(np.full((2, 40, 60, 3), 77, np.uint8))
    assert torch.equal(clip, torch.full_like(clip, -1))


def test_stretching_is_per_frame() -> None:
    frames = np.stack(
        [np.arange(48, dtype=np.uint8).reshape(4, 4, 3), 2 * np.arange(48, dtype=np.uint8).reshape(4, 4, 3)]
    )
    stretched = stretch_values(frames)
    torch.testing.assert_close(stretched[0], stretched[1])
    assert stretched.amin() == 0
    assert stretched.amax() == 255


def test_nothing_is_cropped_without_a_crop() -> None:
    geometry = Processor(PreprocessConfig.whole_frame(32)).geometry(40, 100)
    np.testing.assert_allclose(geometry.to_source([[0, 0], [32, 32]]), [[0, 0], [100, 40]])
    with pytest.raises(ConfigError, match="short_side 64 must equal crop_size 32"):
        PreprocessConfig(crop="none", crop_size=32, short_side=64)
