"""Names, shapes and architecture of an encoder's tensors."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from endofm.config import EncoderConfig
from endofm.errors import CheckpointFormatError, ConfigError
from endofm.hub.encoder_tensors import encoder_name, infer_encoder_config
from endofm.hub.task_layout import count_parameters
from helpers import paths
from helpers.small_encoder import ENCODER, encoder_shapes

PUBLISHED = json.loads((paths.GOLDEN / "state_dict_keys_backbone.json").read_text())


def meta_tensors(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    return {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}


def test_names_and_shapes_are_those_of_the_published_checkpoint() -> None:
    shapes = encoder_shapes(EncoderConfig())
    assert {name: list(shape) for name, shape in shapes.items()} == PUBLISHED["backbone"]
    assert count_parameters(EncoderConfig()) == PUBLISHED["counts"]["backbone_parameters"]


configs = st.builds(
    lambda patch, grid, heads, ratio, **fields: EncoderConfig(
        patch_size=patch, img_size=patch * grid, num_heads=heads, embed_dim=64 * heads, mlp_ratio=ratio, **fields
    ),
    patch=st.integers(1, 32),
    grid=st.integers(1, 20),
    heads=st.integers(1, 12),
    ratio=st.floats(0.5, 6),
    num_frames=st.integers(1, 32),
    in_chans=st.integers(1, 4),
    depth=st.integers(1, 12),
    qkv_bias=st.booleans(),
)


@given(configs)
def test_the_architecture_is_read_off_the_shapes(config: EncoderConfig) -> None:
    tensors = meta_tensors(encoder_shapes(config))
    inferred = infer_encoder_config(tensors)
    assert replace(inferred, mlp_ratio=config.mlp_ratio) == config
    assert encoder_shapes(inferred) == {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def test_heads_of_another_width_have_to_be_stated() -> None:
    assert infer_encoder_config(meta_tensors(encoder_shapes(ENCODER))).num_heads == 1
    assert infer_encoder_config(meta_tensors(encoder_shapes(ENCODER)), num_heads=4) == ENCODER
    narrow = replace(ENCODER, embed_dim=96)
    with pytest.raises(ConfigError, match="--num-heads"):
        infer_encoder_config(meta_tensors(encoder_shapes(narrow)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pos_embed": None}, "pos_embed"),
        ({"time_embed": (8, 64)}, "time_embed"),
        ({"pos_embed": (1, 6, 64)}, "square grid"),
        ({"patch_embed.proj.weight": (64, 3, 16, 8)}, "not square"),
        ({"patch_embed.proj.weight": (64, 3, 0, 0)}, "unusable"),
    ],
)
def test_shapes_of_something_else_are_refused(changes: dict[str, tuple[int, ...] | None], message: str) -> None:
    shapes = {k: v for k, v in {**encoder_shapes(ENCODER), **changes}.items() if v is not None}
    with pytest.raises(CheckpointFormatError, match=message):
        infer_encoder_config(meta_tensors(shapes), num_heads=4)


def test_published_names_lose_their_prefixes() -> None:
    teacher = [f"backbone.{name}" for name in PUBLISHED["backbone"]] + [f"head.{n}" for n in PUBLISHED["dino_head"]]
    digest = hashlib.sha256("".join(f"{name}\n" for name in sorted(teacher)).encode()).hexdigest()
    assert digest == PUBLISHED["sorted_teacher_names_sha256"]
    for prefix in ("", "module."):
        kept = [encoder_name(prefix + name) for name in teacher]
        assert sorted(name for name in kept if name is not None) == sorted(encoder_shapes(EncoderConfig()))
        assert kept.count(None) == len(PUBLISHED["dino_head"])


@pytest.mark.parametrize("prefix", ["", "module.", "backbone.", "module.backbone.", "model.", "model.module.backbone."])
def test_every_wrapper_is_stripped(prefix: str) -> None:
    assert encoder_name(f"{prefix}blocks.0.attn.qkv.weight") == "blocks.0.attn.qkv.weight"


@pytest.mark.parametrize("name", ["head.mlp.0.weight", "module.head.last_layer.weight_g", "module.linear.bias"])
def test_heads_are_told_apart(name: str) -> None:
    assert encoder_name(name) is None
