from __future__ import annotations

import subprocess
import sys

import pytest
import timm
import torch

import endofm.timm_models
from endofm import load_encoder
from endofm.errors import InputError


def test_timm_creates_our_encoders() -> None:
    assert "endofm_nano_4x96" in timm.list_models(module="timm_models")
    ours, clip = load_encoder("endofm-nano-4x96"), torch.rand(1, 3, 4, 96, 96)
    theirs = timm.create_model("endofm_nano_4x96", pretrained=True)
    with torch.inference_mode():
        torch.testing.assert_close(theirs(clip), ours(clip), rtol=0, atol=0)
        assert theirs.forward_features(clip).patch_tokens.shape == (1, 4, 6, 6, 192)


def test_without_weights_they_are_new() -> None:
    encoder = timm.create_model("endofm_nano_4x96", drop_path_rate=0.1)
    assert encoder.encoder_config.drop_path_rate == 0.1
    trained = load_encoder("endofm-nano-4x96").state_dict()["patch_embed.proj.weight"]
    assert not torch.equal(encoder.state_dict()["patch_embed.proj.weight"], trained)


def test_every_registered_encoder_is_there_and_no_task_model() -> None:
    names = set(timm.list_models(module="timm_models"))
    assert {"endofm_base_8x224", "surgmotion_l", "endomamba_s", "endovit_b"} <= names
    assert "endofm_nano_polyp_masks" not in names


def test_what_timm_cannot_ask_of_them() -> None:
    with pytest.raises(InputError, match="from_backbone"):
        timm.create_model("endofm_nano_4x96", pretrained=True, num_classes=2)
    with pytest.raises(InputError, match="load_encoder"):
        timm.create_model("endofm_nano_4x96", pretrained=True, pretrained_cfg_overlay={"file": "other.pth"})


def test_timm_knows_nothing_of_them_until_the_module_is_imported() -> None:
    code = "import timm, endofm; endofm.EndoFM; print(timm.list_models('endofm*'))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
    assert endofm.timm_models.__doc__
