"""What tells the members of the Endo-FM family apart, and the key lists of their full sizes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

import endofm
from endofm.config import EncoderConfig
from endofm.hub.convert import convert_checkpoint
from endofm.hub.registry import get_record
from endofm.hub.vit_layouts import M2CRL_LEFT_OUT
from endofm.layers.block import resize_position_embedding, resize_time_embedding
from helpers.original_encoders import LV, STOMP
from helpers.paths import GOLDEN
from helpers.small_encoder import encoder_shapes


def keys(name: str) -> dict[str, tuple[int, ...]]:
    text = (GOLDEN / "family" / f"{name}_state_dict.json").read_text(encoding="utf-8")
    return {key: tuple(shape) for key, shape in json.loads(text).items()}


def test_names_and_shapes_of_the_full_sizes() -> None:
    assert encoder_shapes(get_record("endofm-lv-base-32x224").config.encoder) == keys("lv")
    without = {name: shape for name, shape in keys("m2crl").items() if name not in M2CRL_LEFT_OUT}
    assert len(without) == len(keys("m2crl")) - 3
    assert encoder_shapes(get_record("m2crl-base-8x224").config.encoder) == without


def test_a_time_embedding_of_32_rows_takes_a_minute(tmp_path: Path) -> None:
    long = replace(LV, encoder=EncoderConfig(img_size=64, num_frames=32, embed_dim=64, depth=1, num_heads=4))
    path = tmp_path / "endofm_lv.pth"
    torch.save(long.written(long.tensors()), path)
    preprocess = convert_checkpoint(path, num_heads=4).config.preprocess
    assert (preprocess.num_frames, preprocess.window_seconds) == (32, 60)


def test_tables_of_stomp_are_resized_linearly() -> None:
    position, time = torch.randn(1, 1 + 16, 8), torch.randn(1, 6, 8)
    # A grid with as many patches but another shape: Endo-FM takes its rows in order, STOMP resizes.
    assert torch.equal(resize_position_embedding(position, (2, 8)), position)
    found = resize_position_embedding(position, (2, 8), "bilinear")
    grid = position[:, 1:].transpose(1, 2).reshape(1, 8, 4, 4)
    expected = F.interpolate(grid, size=(2, 8), mode="bilinear", align_corners=False).flatten(2).transpose(1, 2)
    assert torch.equal(found[:, 1:], expected)
    halves = resize_time_embedding(time, 3, "bilinear")
    assert torch.allclose(halves, (time[:, ::2] + time[:, 1::2]) / 2)


def test_stomp_says_how_its_tables_are_resized(tmp_path: Path) -> None:
    path = tmp_path / "model_final_ep30.pth"
    torch.save(STOMP.written(STOMP.tensors()), path)
    converted = convert_checkpoint(path, num_heads=4)
    assert converted.config.to_dict()["encoder"]["table_resize"] == "bilinear"
    assert converted.published.part == "model_state_dict"


@pytest.mark.parametrize("name", [n for n in endofm.list_models() if get_record(n).family and n.endswith("-random")])
def test_every_kind_can_be_tried_without_a_file(name: str) -> None:
    with pytest.warns(endofm.errors.UntrainedWeightsWarning):
        model = endofm.load_encoder(name)
    config = model.config.preprocess
    clip = torch.zeros(1, 3, config.num_frames, config.crop_size, config.crop_size)
    with torch.inference_mode():
        output = model.forward_features(clip)
    steps, side = config.num_frames // model.tubelet_size, config.crop_size // model.patch_size
    assert output.cls_token.shape == (1, model.embed_dim)
    assert output.patch_tokens is not None
    assert output.patch_tokens.shape == (1, steps, side, side, model.embed_dim)
