"""The V-JEPA 2 encoder: names, sizes, layouts, and clips that it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import endofm
from endofm.config.vjepa_config import VJepaConfig
from endofm.errors import ConfigError, InputError
from endofm.hub.convert import convert_checkpoint
from endofm.hub.registry import get_record
from endofm.models.vjepa import VJepaEncoder
from endofm.tasks.features.model import VideoEncoder
from helpers.original_encoders import SURGMOTION, check_vjepa, clip, golden
from helpers.paths import GOLDEN
from helpers.small_encoder import encoder_shapes

KEYS = json.loads((GOLDEN / "family" / "vjepa2_state_dict.json").read_text(encoding="utf-8"))


@pytest.fixture
def tiny(tmp_path: Path) -> VideoEncoder:
    path = tmp_path / SURGMOTION.file
    torch.save(SURGMOTION.written(SURGMOTION.tensors()), path)
    return endofm.load_encoder(path)


@pytest.mark.parametrize(("name", "keys"), [("surgmotion-l", "vit_large"), ("surgmotion-g", "vit_giant_xformers")])
def test_names_and_shapes_of_the_full_sizes(name: str, keys: str) -> None:
    record = get_record(name)
    published = {key: tuple(shape) for key, shape in KEYS[keys]["encoder"].items()}
    assert encoder_shapes(record.config.encoder) == published
    assert record.num_parameters == KEYS[keys]["parameters"]
    assert len(published) == KEYS[keys]["tensors"]


def test_the_first_block(tiny: VideoEncoder) -> None:
    assert isinstance(tiny, VJepaEncoder)
    tokens = []
    tiny.blocks[0].register_forward_hook(lambda module, inputs, output: tokens.append(tiny.norm(output[0])))
    with torch.inference_mode():
        tiny(clip("vjepa2_tiny/base", (2, 3, 8, 64, 64)))
    np.testing.assert_allclose(tokens[0][:, ::4], golden("vjepa2_tiny")["base/layer0"], rtol=0, atol=1e-5)


def test_the_names_of_transformers_are_read(tmp_path: Path) -> None:
    expected, named = SURGMOTION.tensors(), {}
    for name, tensor in expected.items():
        name = name.replace("patch_embed.", "embeddings.patch_embeddings.").replace("blocks.", "layer.")
        name = name.replace("norm.", "layernorm.") if name.startswith("norm.") else name
        if ".attn.qkv." in name:
            parts = zip(("query", "key", "value"), tensor.chunk(3), strict=True)
            named |= {
                f"encoder.{name.replace('.attn.qkv.', f'.attention.{key}.')}": part.clone() for key, part in parts
            }
        else:
            named[f"encoder.{name.replace('.attn.', '.attention.')}"] = tensor
    torch.save({**named, "predictor.mask_token": torch.ones(1, 4)}, tmp_path / "model.bin")
    converted = convert_checkpoint(tmp_path / "model.bin")
    assert {key: tuple(value.shape) for key, value in converted.state_dict.items()} == encoder_shapes(
        SURGMOTION.encoder
    )
    assert all(torch.equal(tensor, expected[name]) for name, tensor in converted.state_dict.items())
    assert converted.published.left_out_tensors == ("predictor.mask_token",)


def test_training_computes_the_same(tiny: VideoEncoder) -> None:
    assert check_vjepa(tiny) <= 1e-5
    pixels = clip("vjepa2_tiny/base", (2, 3, 8, 64, 64))
    tiny.train()
    embedding = tiny(pixels)
    np.testing.assert_allclose(embedding.detach(), golden("vjepa2_tiny")["base/mean"], rtol=0, atol=1e-5)
    embedding.sum().backward()
    assert all(parameter.grad is not None for parameter in tiny.parameters())


def test_bfloat16_is_close(tiny: VideoEncoder) -> None:
    tiny.precision = "bfloat16"
    assert 0 < check_vjepa(tiny) < 0.1


def test_a_clip_has_complete_tubelets(tiny: VideoEncoder) -> None:
    with pytest.raises(InputError, match="multiple of 2, got 7"):
        tiny(torch.zeros(1, 3, 7, 64, 64))


def test_steps_have_the_mean_time_of_their_frames(tiny: VideoEncoder) -> None:
    frames = np.random.default_rng(0).integers(0, 255, (16, 64, 64, 3), dtype=np.uint8)
    tiny.processor = endofm.Processor(endofm.PreprocessConfig.whole_frame(64, num_frames=8))
    features = tiny.extract_features(frames, fps=2, window_seconds=8, level="patch", progress=False)
    assert features.patch_tokens is not None
    assert features.patch_tokens.shape == (1, 4, 4, 4, 128)
    assert features.frame_seconds.shape == (1, 4)
    assert (np.diff(features.frame_seconds[0]) > 1.5).all()


@pytest.mark.parametrize(
    ("fields", "message"),
    [({"num_frames": 7}, "multiple of tubelet_size"), ({"embed_dim": 64, "num_heads": 16}, "at least 6")],
)
def test_a_configuration_that_cannot_be_is_refused(fields: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        VJepaConfig(**fields)
