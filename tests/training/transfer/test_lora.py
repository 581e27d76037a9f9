"""LoRA: additions merge into a plain model."""

from __future__ import annotations

from pathlib import Path

import torch

from endofm import EndoFMForVideoClassification
from endofm.training.transfer.lora import merge_lora
from helpers.small_classifier import classifier, clip
from helpers.transferred_classifier import trained


def test_low_rank_additions_merge_into_a_plain_model(tmp_path: Path) -> None:
    model = trained("lora")
    before = model(clip())
    assert merge_lora(model) == 8
    torch.testing.assert_close(model(clip()), before, atol=1e-5, rtol=1e-5)
    assert set(model.state_dict()) == set(classifier().state_dict())
    loaded = EndoFMForVideoClassification.from_pretrained(model.save_pretrained(tmp_path))
    assert torch.equal(loaded(clip()), model(clip()))
    assert merge_lora(model) == 0
