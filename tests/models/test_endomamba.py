"""The EndoMamba encoder: names, causality, and what it refuses."""

from __future__ import annotations

import json

import pytest
import torch

from endofm.config.mamba_config import MambaConfig
from endofm.errors import ConfigError, InputError
from endofm.hub.registry import get_record
from endofm.models.endomamba import MambaEncoder
from helpers.original_encoders import ENDOMAMBA
from helpers.paths import GOLDEN
from helpers.small_encoder import encoder_shapes


@pytest.fixture
def tiny() -> MambaEncoder:
    assert isinstance(ENDOMAMBA.encoder, MambaConfig)
    model = MambaEncoder(ENDOMAMBA.encoder).eval()
    model.load_state_dict(ENDOMAMBA.tensors())
    return model


def test_names_and_shapes_of_the_published_size() -> None:
    text = (GOLDEN / "family" / "endomamba_state_dict.json").read_text(encoding="utf-8")
    published = {name: tuple(shape) for name, shape in json.loads(text).items()}
    record = get_record("endomamba-s")
    assert encoder_shapes(record.config.encoder) == published
    assert record.num_parameters == 24_462_336
    assert get_record("fprl-s").config.encoder == record.config.encoder


def test_a_frame_does_not_depend_on_later_ones(tiny: MambaEncoder) -> None:
    clip = torch.randn(1, 3, 5, 64, 64)
    with torch.inference_mode():
        whole, start = tiny.forward_features(clip), tiny.forward_features(clip[:, :, :3])
    assert whole.patch_tokens is not None
    assert start.patch_tokens is not None
    assert torch.allclose(whole.patch_tokens[:, :3], start.patch_tokens, atol=1e-5)
    # But it depends on earlier ones.
    with torch.inference_mode():
        alone = tiny.forward_features(clip[:, :, 2:3]).patch_tokens
    assert alone is not None
    assert not torch.allclose(whole.patch_tokens[:, 2:3], alone, atol=1e-2)


def test_the_state_takes_the_place_of_all_frames_before(tiny: MambaEncoder) -> None:
    clip = torch.randn(2, 3, 5, 64, 64)
    with torch.inference_mode():
        whole = tiny.forward_features(clip)
        # In pieces of any length.
        first, patches, state = tiny.forward_live(clip[:, :, :2])
        second, more, state = tiny.forward_live(clip[:, :, 2:], state)
    assert whole.patch_tokens is not None
    assert torch.allclose(torch.cat((patches, more), dim=1), whole.patch_tokens, atol=1e-5)
    assert torch.allclose(torch.cat((first, second), dim=1).mean(1), whole.cls_token, atol=1e-5)
    assert state.frames == 5


def test_training_reaches_every_parameter(tiny: MambaEncoder) -> None:
    tiny.train()
    output = tiny.forward_features(torch.randn(1, 3, 2, 64, 64))
    assert output.patch_tokens is not None
    (output.cls_token.sum() + output.patch_tokens.square().sum()).backward()
    assert all(parameter.grad is not None for parameter in tiny.parameters())


def test_what_is_refused(tiny: MambaEncoder) -> None:
    tiny.precision = "bfloat16"
    with pytest.raises(InputError, match="use 'exact'"):
        tiny(torch.zeros(1, 3, 2, 64, 64))
    with pytest.raises(ConfigError, match="larger than the depth"):
        MambaConfig(depth=2)


def test_another_size_resizes_the_table(tiny: MambaEncoder) -> None:
    with torch.inference_mode():
        output = tiny.forward_features(torch.randn(1, 3, 2, 96, 64))
    assert output.patch_tokens is not None
    assert output.patch_tokens.shape == (1, 2, 6, 4, 64)
