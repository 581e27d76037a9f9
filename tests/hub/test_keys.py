from __future__ import annotations

import hashlib
import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from endofm.config import EncoderConfig
from endofm.hub.keys import encoder_name, to_legacy, to_parametrized
from endofm.hub.state_dict import encoder_shapes
from helpers import paths

PUBLISHED = json.loads((paths.GOLDEN / "state_dict_keys_backbone.json").read_text())

names = st.lists(st.text("abcdefgh0123456789_", min_size=1, max_size=6), min_size=1, max_size=4).map(".".join)
legacy_names = st.builds(str.__add__, names, st.sampled_from(["", ".weight", ".bias", ".weight_g", ".weight_v"]))


@given(st.dictionaries(legacy_names, st.integers()))
def test_weight_norm_names_survive_the_way_there_and_back(values: dict[str, int]) -> None:
    there = to_parametrized(values)
    assert not any(name.endswith((".weight_g", ".weight_v")) for name in there)
    assert list(to_legacy(there).items()) == list(values.items())
    assert to_parametrized(to_legacy(there)) == there


def test_weight_norm_names_are_those_of_torch() -> None:
    linear = torch.nn.Linear(3, 2, bias=False)
    with pytest.warns(FutureWarning, match="weight_norm"):
        old = torch.nn.utils.weight_norm(linear).state_dict()
    module = torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(3, 2, bias=False))
    # The root of a module has no name, so the ending's dot has to be added and taken away again.
    renamed = {name[2:]: value for name, value in to_parametrized({f"x.{k}": v for k, v in old.items()}).items()}
    module.load_state_dict(renamed)
    assert torch.equal(module.weight, linear.weight)


def test_the_published_names_lose_their_prefixes() -> None:
    teacher = [f"backbone.{name}" for name in PUBLISHED["backbone"]] + [f"head.{n}" for n in PUBLISHED["dino_head"]]
    digest = hashlib.sha256("".join(f"{name}\n" for name in sorted(teacher)).encode()).hexdigest()
    assert digest == PUBLISHED["sorted_teacher_names_sha256"]
    for prefix in ("", "module."):
        kept = [encoder_name(prefix + name) for name in teacher]
        assert [name for name in kept if name is not None] == list(encoder_shapes(EncoderConfig()))
        assert kept.count(None) == len(PUBLISHED["dino_head"])


@pytest.mark.parametrize("prefix", ["", "module.", "backbone.", "module.backbone.", "model.", "model.module.backbone."])
def test_every_wrapper_is_stripped(prefix: str) -> None:
    assert encoder_name(f"{prefix}blocks.0.attn.qkv.weight") == "blocks.0.attn.qkv.weight"


@pytest.mark.parametrize("name", ["head.mlp.0.weight", "module.head.last_layer.weight_g", "module.linear.bias"])
def test_heads_are_told_apart(name: str) -> None:
    assert encoder_name(name) is None
