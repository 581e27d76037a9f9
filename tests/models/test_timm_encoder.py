"""Networks of timm as encoders: the numbers of timm, strictness, and any model by its name."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from safetensors.torch import save

import endofm
from endofm.config.timm_config import TimmConfig
from endofm.errors import ConfigError, InputError, StateDictError, WeightsNotFoundError
from endofm.hub.registry import get_record
from endofm.models.timm_encoder import TimmEncoder
from endofm.tasks.timm_record import timm_record
from helpers.hub_fixtures import hub
from loopback_hub import LoopbackHub

__all__ = ["hub"]

timm = pytest.importorskip("timm")


def peer(name: str, **options: Any) -> Any:
    torch.manual_seed(0)
    network = timm.create_model(name, num_classes=0, **options).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return network


@pytest.mark.parametrize(
    ("config", "prefix"),
    [
        pytest.param(TimmConfig(model="test_vit", img_size=64, embed_dim=64), 1, id="transformer"),
        pytest.param(
            TimmConfig(model="vit_small_patch16_dinov3", img_size=64, embed_dim=384), 5, id="rotary-and-registers"
        ),
        pytest.param(TimmConfig(model="test_convnext", img_size=64, embed_dim=64, patch_size=32), 0, id="convolutions"),
    ],
)
def test_the_numbers_are_those_of_timm(config: TimmConfig, prefix: int) -> None:
    options = {"img_size": 64} if prefix else {}
    network = peer(config.model, **options)
    encoder = TimmEncoder(config).eval()
    encoder.image.load_state_dict(network.state_dict())
    clip = torch.randn(2, 3, 3, 64, 64)
    with torch.inference_mode():
        output = encoder.forward_features(clip)
        for frame in range(3):
            features = network.forward_features(clip[:, :, frame])
            tokens = features[:, prefix:] if prefix else features.flatten(2).transpose(1, 2)
            assert output.patch_tokens is not None
            assert torch.allclose(output.patch_tokens[:, frame].flatten(1, 2), tokens, atol=1e-5)
        embeddings = [network.forward_head(network.forward_features(clip[:, :, t]), pre_logits=True) for t in range(3)]
        assert torch.allclose(output.cls_token, torch.stack(embeddings).mean(0), atol=1e-5)
        assert torch.allclose(encoder(clip), output.cls_token)


def test_any_model_by_its_name(hub: LoopbackHub) -> None:
    name = "test_vit.r160_in1k"
    tensors = timm.create_model("test_vit", num_classes=1000).state_dict()
    commit = hub.commit(f"timm/{name}", {"model.safetensors": save(tensors)})
    encoder = endofm.load_encoder(f"timm:{name}")
    assert encoder.provenance["revision"] == commit
    assert (encoder.embed_dim, encoder.patch_size, encoder.num_frames) == (64, 16, 8)
    assert encoder.config.encoder == timm_record(f"timm:{name}").config.encoder
    assert torch.equal(encoder.get_parameter("image.cls_token"), tensors["cls_token"])
    del tensors["blocks.0.attn.qkv.bias"]
    hub.commit(f"timm/{name}", {"model.safetensors": save({**tensors, "surprise": torch.ones(1)})})
    problems = r"1 missing: image\.blocks\.0\.attn\.qkv\.bias; 1 unexpected: image\.surprise"
    with pytest.raises(StateDictError, match=problems):
        endofm.load_encoder(f"timm:{name}")


def test_names_that_timm_does_not_have() -> None:
    with pytest.raises(WeightsNotFoundError, match="Did you mean vit_"):
        endofm.load_encoder("timm:vit_smal_patch16_224")
    with pytest.raises(WeightsNotFoundError, match=r"those of this architecture: test_vit\.r160_in1k"):
        endofm.load_encoder("timm:test_vit.other")


@pytest.mark.parametrize("name", ["surgenetxl-dinov2-b", "surgenetxl-dinov3-s"])
def test_records_fit_the_networks(name: str) -> None:
    record = get_record(name)
    tensors = 174 if "v2" in name else None
    with torch.device("meta"):
        network = TimmEncoder(record.config.encoder)  # type: ignore[arg-type]
    assert tensors in (None, len(network.state_dict()))
    if "v2" in name:
        # With the mask token, 175 tensors and 85,971,456 numbers were counted in the file.
        assert record.num_parameters + 768 == 85_971_456
        assert tuple(network.state_dict()["image.pos_embed"].shape) == (1, 577, 768)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model": "no_such_net"}, "no architecture"),
        ({"model": "test_vit", "img_size": 64}, "embeddings of 64"),
        ({"model": "test_vit", "img_size": 64, "embed_dim": 64, "patch_size": 32}, "stands for 16 pixels"),
    ],
)
def test_a_description_that_does_not_fit_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TimmEncoder(TimmConfig(**fields))


def test_precision() -> None:
    encoder = TimmEncoder(TimmConfig(model="test_vit", img_size=64, embed_dim=64)).eval()
    clip = torch.randn(1, 3, 2, 64, 64)
    with torch.inference_mode():
        exact = encoder(clip)
        encoder.precision = "bfloat16"
        assert 0 < (encoder(clip) - exact).abs().max() < 0.1
        encoder.precision = "int8"
        with pytest.raises(InputError, match="not available"):
            encoder(clip)
