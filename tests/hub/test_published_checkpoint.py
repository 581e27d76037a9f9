"""The way of a published checkpoint: original ``.pth`` layout, converted, loaded strictly, golden class token."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from endofm import EncoderConfig, EndoFM, VideoTransformer
from endofm.errors import StateDictError
from helpers import paths
from helpers.golden_fill import normal_input, params

GOLDEN = paths.GOLDEN
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``endo_fm.pth`` as the original's training script writes it, with golden weights in the teacher."""
    with torch.device("meta"):
        shapes = {name: tuple(p.shape) for name, p in VideoTransformer(EncoderConfig()).state_dict().items()}
    head = {
        "mlp.0.weight": (64, 768),
        "mlp.0.bias": (64,),
        "last_layer.weight_g": (9, 1),
        "last_layer.weight_v": (9, 64),
    }
    teacher = {name: torch.from_numpy(value) for name, value in params(shapes).items()}
    teacher_head = {name: torch.from_numpy(value) for name, value in params(head).items()}
    # A student that differs, so that taking the wrong one shows; its tensors are views to keep the file small.
    student = {name: torch.zeros(1).expand(value.shape) for name, value in teacher.items()}
    path = tmp_path_factory.mktemp("original") / "endo_fm.pth"
    torch.save(
        {
            "student": {f"module.backbone.{n}": p for n, p in student.items()}
            | {f"module.head.{n}": p for n, p in teacher_head.items()},
            "teacher": {f"backbone.{n}": p for n, p in teacher.items()}
            | {f"head.{n}": p for n, p in teacher_head.items()},
            "motion_student": 0,
            "motion_teacher": 0,
            "optimizer": {"state": {0: {"step": 1, "exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 1e-4}]},
            "epoch": 30,
            "args": argparse.Namespace(arch="timesformer", batch_size_per_gpu=3),
            "dino_loss": {"center": torch.zeros(1, 9)},
            "fp16_scaler": {"scale": 65536.0},
        },
        path,
    )
    return path


def golden_error(model: EndoFM) -> float:
    golden = np.load(GOLDEN / "backbone_vitb.npz")["size96/cls"]
    with torch.inference_mode():
        found = model(torch.from_numpy(normal_input("vitb/size96", (2, 3, 8, 96, 96))))
    return float(np.abs(found.numpy() - golden).max())


def test_converted_by_the_command_line(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "converted"
    command = [sys.executable, "-m", "endofm", "convert", str(checkpoint), str(out)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "teacher" in result.stdout
    assert {"model.safetensors", "config.json", "README.md"} == {path.name for path in out.iterdir()}
    model = EndoFM.from_pretrained(out)
    assert not model.training
    assert model.config.encoder == EncoderConfig()
    assert golden_error(model) <= TOLERANCE


def test_loaded_directly(checkpoint: Path) -> None:
    assert golden_error(EndoFM.from_pretrained(checkpoint)) <= TOLERANCE


def test_loading_is_strict(checkpoint: Path, tmp_path: Path) -> None:
    broken = torch.load(checkpoint, weights_only=False)
    del broken["teacher"]["backbone.blocks.7.attn.qkv.bias"]
    broken["teacher"]["backbone.blocks.7.attn.surprise"] = torch.zeros(1)
    path = tmp_path / "broken.pth"
    torch.save({"teacher": broken["teacher"]}, path)
    with pytest.raises(StateDictError) as caught:
        EndoFM.from_pretrained(path)
    assert "blocks.7.attn.qkv.bias" in str(caught.value)
    assert "blocks.7.attn.surprise" in str(caught.value)
