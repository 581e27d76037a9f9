"""Adapter-only files: complete, small, and bound to their encoder."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from endofm import EndoFM, EndoFMForVideoClassification
from endofm.errors import CheckpointFormatError, StateDictError
from endofm.training.transfer.adapter_file import load_adapter, save_adapter
from endofm.training.transfer.methods import apply_transfer, named_transfer
from helpers.small_classifier import CONFIG, classifier, clip
from helpers.transferred_classifier import base, trained


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
