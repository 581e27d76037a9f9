"""The network as the only check of a state dict."""

from __future__ import annotations

import pytest
import torch

from endofm.errors import StateDictError
from endofm.hub.task_layout import check_tensors
from helpers.small_encoder import CONFIG, tensors


def test_a_fitting_state_dict_passes() -> None:
    check_tensors(CONFIG, tensors(), source="x")


def test_misfits_are_counted_and_named() -> None:
    broken = tensors()
    del broken["cls_token"], broken["blocks.1.norm1.weight"]
    broken["head.weight"] = torch.zeros(2)
    broken["time_embed"] = torch.zeros(1, 9, 64)
    with pytest.raises(StateDictError) as caught:
        check_tensors(CONFIG, broken, source="x.safetensors")
    message = str(caught.value)
    assert "x.safetensors" in message
    assert "2 missing: cls_token, blocks.1.norm1.weight" in message
    assert "1 unexpected: head.weight" in message
    assert "1 of another shape: time_embed (1, 9, 64) instead of (1, 4, 64)" in message


def test_long_lists_of_misfits_are_cut() -> None:
    with pytest.raises(StateDictError, match=r"47 missing: .*, and 43 more"):
        check_tensors(CONFIG, {}, source="x")
