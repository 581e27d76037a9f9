"""Transfer by one word, adapter-only files, and merging."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from endofm import EndoFM, EndoFMForVideoClassification
from endofm.errors import CheckpointFormatError, ConfigError, StateDictError
from endofm.training.transfer.adapter_file import load_adapter, save_adapter
from endofm.training.transfer.base import count_trainable, trainable_parameters
from endofm.training.transfer.head_only import AttentiveTransfer
from endofm.training.transfer.lora import LoraTransfer, lora_parameters, merge_lora
from endofm.training.transfer.methods import TRANSFERS, apply_transfer, named_transfer, set_training
from helpers.small_classifier import CONFIG, classifier, clip


def trained(word: str) -> EndoFMForVideoClassification:
    """Return a classifier that has learnt a little in the given way."""
    torch.manual_seed(0)
    model = classifier()
    apply_transfer(model, word)
    set_training(model)
    optimizer = torch.optim.SGD([p for _, p in trainable_parameters(model)], lr=0.05)
    for _ in range(3):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(clip(3)), torch.tensor([0, 1, 2])).backward()
        optimizer.step()
    return model.eval()


def base() -> EndoFM:
    encoder = EndoFM(replace(CONFIG, head=None)).eval()
    encoder.load_state_dict(classifier().backbone.state_dict())
    return encoder


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


@pytest.mark.parametrize("word", ["linear", "attentive", "st-adapter", "lora"])
def test_what_was_learnt_is_saved_alone_and_fits_its_encoder_only(word: str, tmp_path: Path) -> None:
    model = trained(word)
    path = save_adapter(model, named_transfer(word), tmp_path)
    whole = sum(t.numel() for t in model.state_dict().values()) * 4
    assert path.stat().st_size < (0.9 if word in ("st-adapter", "lora") else 0.3) * whole
    loaded = load_adapter(tmp_path, base())
    assert torch.equal(loaded(clip()), model(clip()))
    assert load_adapter(path, base(), precision="bfloat16").precision == "bfloat16"
    other = base()
    with torch.no_grad():
        other.blocks[0].mlp.fc1.bias[3] += 1e-6  # type: ignore[union-attr,index]
    with pytest.raises(StateDictError, match="other weights of the same shapes"):
        load_adapter(tmp_path, other)
    with pytest.raises(StateDictError, match="weights without a name"):
        load_adapter(tmp_path)


def test_an_adapter_finds_its_encoder_by_name(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="mean nothing"):
        encoder = EndoFM.from_pretrained("endofm-tiny-8x224-random")
    assert CONFIG.head is not None
    model = EndoFMForVideoClassification.from_backbone(encoder, CONFIG.head)  # type: ignore[arg-type]
    transfer = apply_transfer(model, "linear")
    save_adapter(model, transfer, tmp_path)
    with pytest.warns(UserWarning, match="mean nothing"):
        loaded = load_adapter(tmp_path)
    assert torch.equal(loaded.backbone.cls_token, encoder.cls_token)  # type: ignore[union-attr]


def test_files_that_are_no_adapters_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointFormatError, match="no such adapter"):
        load_adapter(tmp_path, base())
    folder = classifier().save_pretrained(tmp_path / "whole")
    with pytest.raises(CheckpointFormatError, match="not an adapter"):
        load_adapter(folder / "model.safetensors", base())
    (tmp_path / "adapter.safetensors").write_bytes(b"nonsense")
    with pytest.raises(CheckpointFormatError, match="damaged"):
        load_adapter(tmp_path, base())


def test_low_rank_additions_merge_into_a_plain_model(tmp_path: Path) -> None:
    model = trained("lora")
    before = model(clip())
    assert merge_lora(model) == 8
    torch.testing.assert_close(model(clip()), before, atol=1e-5, rtol=1e-5)
    assert set(model.state_dict()) == set(classifier().state_dict())
    loaded = EndoFMForVideoClassification.from_pretrained(model.save_pretrained(tmp_path))
    assert torch.equal(loaded(clip()), model(clip()))
    assert merge_lora(model) == 0


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
