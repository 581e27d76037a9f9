"""Frames kept whole: squashed or fitted, and the way back to source pixels."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from endofm.config import EncoderConfig, ModelConfig, PreprocessConfig
from endofm.errors import ConfigError
from endofm.tasks.detection.layout import published_preprocess
from endofm.tasks.detection.model import fitted_frame
from endofm.transforms.processor import Processor
from helpers import detection_fill as fill
from helpers.golden_fill import uint8_clip


def test_published_preprocessing_equals_the_original(goldens: fill.Goldens) -> None:
    picture = uint8_clip("detection/picture", (1, 96, 120, 3))[0]
    processor = Processor(published_preprocess())
    out = processor.prepare_frame(picture)
    goldens.check("transform/flip0", out, 1.0 / goldens.index["transform/flip0"]["stat"][2])  # one grey level
    boxes = processor.geometry(96, 120).to_clip(np.array(fill.PICTURE_BOXES))
    np.testing.assert_allclose(boxes, goldens["transform/flip0/boxes"], atol=1e-3)


def fitted(size: int, **changes: object) -> Processor:
    return Processor(PreprocessConfig.fitted_frame(size, **changes))


@pytest.mark.parametrize(
    ("shape", "content", "padded"),
    [((90, 160), (72, 128), (96, 128)), ((160, 90), (128, 72), (128, 96)), ((40, 40), (128, 128), (128, 128))],
)
def test_fitted_frames_keep_their_shape_and_are_padded_with_the_mean(
    shape: tuple[int, int], content: tuple[int, int], padded: tuple[int, int]
) -> None:
    processor = fitted(128)
    out = processor.prepare_frame(np.full((*shape, 3), 255, np.uint8))
    assert out.shape == (3, *padded)
    assert (out[:, : content[0], : content[1]] > 1).all()
    assert (out[:, content[0] :] == 0).all()
    assert (out[:, :, content[1] :] == 0).all()
    crop = processor.geometry(*shape).crop
    assert (crop.height, crop.width) == content


def test_a_detector_on_patches_of_14_pixels_pads_to_28() -> None:
    encoder = EncoderConfig(img_size=56, patch_size=14)
    preprocess = fitted_frame(encoder, PreprocessConfig(), size=112)
    assert Processor(preprocess).prepare_frame(np.zeros((50, 100, 3), np.uint8)).shape == (3, 56, 112)
    assert "multiples of 28 pixels" in Processor(preprocess).describe()
    config = ModelConfig(encoder=encoder, preprocess=preprocess)
    assert ModelConfig.from_dict(json.loads(config.to_json())).preprocess == preprocess
    with pytest.raises(ConfigError, match="multiple of 28 with the crop 'fit': 616 or 644"):
        fitted_frame(encoder, PreprocessConfig(), size=640)
    # Sides of models that were written before stay what they are.
    assert fitted_frame(EncoderConfig(patch_size=8, img_size=64), PreprocessConfig(), size=64).pad_multiple == 32


def test_channel_order_swaps_red_and_blue() -> None:
    frame = uint8_clip("order", (1, 32, 48, 3))[0]
    rgb, bgr = fitted(64).prepare_frame(frame), fitted(64, channels="bgr").prepare_frame(frame)
    assert torch.equal(rgb.flip(0), bgr)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(16, 2000),
    st.integers(16, 2000),
    st.sampled_from(["none", "fit"]),
    st.lists(st.floats(0, 1), min_size=4, max_size=4),
)
def test_boxes_survive_the_way_to_the_clip_and_back(height: int, width: int, crop: str, corners: list[float]) -> None:
    config = PreprocessConfig(short_side=640, crop_size=640, crop=crop)  # type: ignore[arg-type]
    geometry = Processor(config).geometry(height, width)
    box = np.array(corners) * [width, height, width, height]
    inside = geometry.to_clip(box)
    limits = np.array([geometry.crop.width, geometry.crop.height] * 2)
    assert (inside >= 0).all()
    assert (inside <= limits + 1e-9).all()
    np.testing.assert_allclose(geometry.to_source(inside), box, rtol=0, atol=1e-9 * max(height, width))
    # The whole frame is the whole content of the clip.
    np.testing.assert_allclose(geometry.to_source(np.array([0, 0, *limits[:2]])), [0, 0, width, height], atol=1e-9)


def test_a_marked_pixel_is_found_where_it_was() -> None:
    """Pixels and coordinates agree: the brightest place of the clip maps to the marked place of the frame."""
    frame = np.zeros((120, 200, 3), np.uint8)
    frame[30:34, 160:164] = 255
    for crop in ("none", "fit"):
        config = PreprocessConfig(short_side=320, crop_size=320, crop=crop)  # type: ignore[arg-type]
        processor = Processor(config)
        bright = processor.prepare_frame(frame).sum(0)
        bright = bright - bright.min()
        rows, columns = (torch.arange(n) + 0.5 for n in bright.shape)
        centre = [
            float((bright.sum(0) * columns).sum() / bright.sum()),
            float((bright.sum(1) * rows).sum() / bright.sum()),
        ]
        np.testing.assert_allclose(processor.geometry(120, 200).to_source(centre), [162, 32], atol=0.05)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"crop": "none"}, "short_side 256 must equal crop_size 224"),
        ({"crop": "fit", "crop_size": 100, "short_side": 100}, "multiple of 32"),
        ({"channels": "grb"}, "channels"),
    ],
)
def test_contradictions_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        PreprocessConfig(**values)  # type: ignore[arg-type]


def test_every_mode_is_described() -> None:
    squeezed = Processor(published_preprocess()).describe()
    assert "aspect ratio not kept" in squeezed
    assert "BGR" in squeezed
    assert "longer side to 128" in fitted(128).describe()
