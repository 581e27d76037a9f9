"""Transfer methods by name: trainable parameters, training mode, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from endofm import EndoFM, EndoFMForVideoClassification
from endofm.errors import ConfigError
from endofm.training.transfer.base import count_trainable
from endofm.training.transfer.head_only import AttentiveTransfer
from endofm.training.transfer.lora import LoraTransfer, lora_parameters
from endofm.training.transfer.methods import TRANSFERS, apply_transfer, named_transfer, set_training
from helpers.small_classifier import CONFIG, classifier, clip
from helpers.transferred_classifier import base, trained


def frozen(model: EndoFMForVideoClassification) -> dict[str, torch.Tensor]:
    names = {name.replace(".base_layer", "") for name in model.backbone.state_dict()}
    return {name: t for name, t in classifier().backbone.state_dict().items() if name in names}


@pytest.mark.parametrize("word", TRANSFERS)
def test_each_word_trains_what_it_says(word: str) -> None:
    model = trained(word)
    head = sum(p.numel() for p in model.head.parameters())
    everything = sum(p.numel() for p in model.parameters())
    expected = {
        "full": everything,
        "linear": head,
        "attentive": head,
        "st-adapter": head + everything - sum(p.numel() for p in classifier().parameters()),
        # Four layers of two blocks: rank 8 in 64-wide tokens, of which two give queries, keys and values.
        "lora": head + 2 * 2 * (8 * (64 + 192) + 8 * (64 + 64)),
    }
    assert count_trainable(model) == expected[word]
    now = {name.replace(".base_layer", ""): t for name, t in model.backbone.state_dict().items()}
    moved = {name for name, t in frozen(model).items() if not torch.equal(t, now[name])}
    assert bool(moved) == (word == "full")
    assert not torch.equal(model.head.linear.weight, classifier().head.linear.weight)


def test_nothing_changes_at_the_start() -> None:
    for word in ("full", "linear", "lora"):
        model = classifier()
        apply_transfer(model, word)
        torch.testing.assert_close(model(clip()), classifier()(clip()), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("word", TRANSFERS)
def test_only_what_learns_is_in_training_mode(word: str) -> None:
    model = EndoFMForVideoClassification(replace(CONFIG, encoder=replace(CONFIG.encoder, drop_path_rate=0.5)))
    apply_transfer(model, LoraTransfer(dropout=0.5) if word == "lora" else word)
    set_training(model)
    assert model.head.training
    assert model.backbone.blocks[0].training == (word == "full")
    if word == "lora":
        assert model.backbone.blocks[0].attn.qkv.lora_dropout.training
        for _, addition in lora_parameters(model):
            nn.init.normal_(addition)
        assert not torch.equal(model(clip()), model(clip()))
    set_training(model, False)
    assert not any(module.training for module in model.modules())


@pytest.mark.parametrize("word", ["attentive", "st-adapter"])
def test_a_whole_model_with_adapters_loads_in_one_line(word: str, tmp_path: Path) -> None:
    model = trained(word)
    loaded = EndoFMForVideoClassification.from_pretrained(model.save_pretrained(tmp_path))
    encoder = EndoFM.from_pretrained(tmp_path)
    with torch.no_grad():  # a frozen encoder is multiplied in another way than one that learns
        assert torch.equal(loaded(clip()), model(clip()))
        assert torch.equal(encoder(clip()), model.backbone(clip()))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigError, match="full, linear, attentive, st-adapter, lora"):
        named_transfer("adapter")
    with pytest.raises(ConfigError, match=r"no head to train"):
        apply_transfer(base(), "linear")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="no linear layer 'qkv'"):
        LoraTransfer(targets=("qkv",))
    with pytest.raises(ConfigError, match="does not divide"):
        apply_transfer(classifier(), AttentiveTransfer(num_heads=7))
