"""The image transformer run on every frame: its pooling and the resizing of its table, beside timm's."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from endofm.config import EncoderConfig
from endofm.hub.registry import get_record
from endofm.layers.block import resize_position_embedding
from endofm.models.frame_encoder import FrameTransformer
from helpers.original_encoders import GASTRONET, IMAGE_TINY, clip, golden


def loaded(encoder: EncoderConfig) -> FrameTransformer:
    model = FrameTransformer(encoder).eval()
    model.load_state_dict(GASTRONET.tensors())
    return model


def test_the_two_poolings_differ() -> None:
    pixels, numbers = clip("framevit_tiny/base", (2, 3, 4, 64, 64)), golden("framevit_tiny")["base/frame_tokens"]
    with torch.inference_mode():
        mean_of_norms = loaded(IMAGE_TINY)(pixels).numpy()
        norm_of_mean = loaded(replace(IMAGE_TINY, pooling="norm_of_mean"))(pixels).numpy()
    expected = numbers[:, :, 0].mean(axis=1)
    assert abs(mean_of_norms - expected).max() < 1e-5
    assert abs(norm_of_mean - expected).max() > 0.1


@pytest.mark.parametrize("shape", [(96, 96), (32, 64), (64, 48)])
def test_a_bicubic_table_is_that_of_timm(shape: tuple[int, int]) -> None:
    timm = pytest.importorskip("timm")
    sizes = {"img_size": 64, "patch_size": 16, "embed_dim": 64, "depth": 3, "num_heads": 4, "num_classes": 0}
    peer = timm.models.VisionTransformer(**sizes, dynamic_img_size=True).eval()
    peer.load_state_dict(GASTRONET.tensors())
    pixels = torch.randn(2, 3, 1, *shape)
    with torch.inference_mode():
        expected = peer.forward_features(pixels[:, :, 0])
        output = loaded(IMAGE_TINY).forward_features(pixels)
    assert output.patch_tokens is not None
    assert torch.allclose(output.cls_token, expected[:, 0], atol=1e-5)
    assert torch.allclose(output.patch_tokens.flatten(1, 3), expected[:, 1:], atol=1e-5)


def test_a_bicubic_table_differs_from_the_nearest_rows() -> None:
    table = torch.randn(1, 17, 8)
    assert torch.equal(resize_position_embedding(table, (4, 4), "bicubic"), table)
    assert not torch.equal(
        resize_position_embedding(table, (6, 6), "bicubic"), resize_position_embedding(table, (6, 6))
    )


def test_sizes_of_the_records() -> None:
    assert get_record("endovit-b").num_parameters == 85_798_656
    assert get_record("gastronet-5m-vits").num_parameters == 21_665_664
    preprocess = get_record("endovit-b").config.preprocess
    assert (preprocess.crop, preprocess.crop_size, preprocess.mean) == ("none", 224, (0.3464, 0.2280, 0.2228))
    assert (preprocess.resample, preprocess.antialias) == ("bicubic", True)
