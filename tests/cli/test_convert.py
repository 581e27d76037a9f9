"""``endofm convert``."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from endofm.errors import InputError, WeightsNotFoundError
from endofm.hub.resolve import load_weights
from helpers.small_encoder import ENCODER, same, tensors, with_head
from loopback_hub import LoopbackHub

Command = Callable[..., str]


def lines(output: str) -> dict[str, str]:
    return {line[:10].strip(): line[12:] for line in output.splitlines() if line[10:12] == "  "}


def test_convert_says_what_it_found(endofm: Command, checkpoint: Path, tmp_path: Path) -> None:
    said = lines(endofm("convert", checkpoint, tmp_path / "out", "--num-heads", 4))
    assert said["sha256"] == hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    assert said["layout"] == ("a divided space-time video transformer; training checkpoint (teacher and student)")
    assert said["read"].startswith("teacher: 47 tensors, 191,808 values")
    assert said["left out"] == (
        "8 tensors that are no part of the model (head.mlp.0.weight, head.mlp.0.bias, head.mlp.2.weight, ...); "
        "entries student, optimizer, epoch, args, dino_loss, fp16_scaler"
    )
    assert said["encoder"] == (
        "a video transformer with divided space-time attention: 2 blocks, width 64, 4 heads, patches of 16 x 16 pixels"
    )
    assert said["input"] == "4 frames of 32 x 32"
    assert hashlib.sha256((tmp_path / "out" / "model.safetensors").read_bytes()).hexdigest() in said["written"]
    loaded = load_weights(tmp_path / "out")
    assert loaded.state_dict is not None
    assert same(loaded.state_dict, tensors("teacher/"))
    assert loaded.config.encoder == ENCODER
    assert loaded.config.source_sha256 == said["sha256"]
    assert said["sha256"] in (tmp_path / "out" / "README.md").read_text()


def test_convert_takes_the_student(endofm: Command, checkpoint: Path, tmp_path: Path) -> None:
    endofm("convert", checkpoint, tmp_path / "out", "--part", "student", "--num-heads", 4)
    loaded = load_weights(tmp_path / "out")
    assert loaded.state_dict is not None
    assert same(loaded.state_dict, tensors("student/"))


def test_convert_says_that_it_assumed_the_heads(endofm: Command, checkpoint: Path, tmp_path: Path) -> None:
    said = lines(endofm("convert", checkpoint, tmp_path / "out"))
    assert "(heads assumed from the width; --num-heads overrides it)" in said["encoder"]


def test_convert_does_not_overwrite_unasked(endofm: Command, checkpoint: Path, model_folder: Path) -> None:
    before = (model_folder / "model.safetensors").read_bytes()
    with pytest.raises(InputError, match=r"holds model\.safetensors, config\.json, README\.md.*pass --overwrite"):
        endofm("convert", checkpoint, model_folder, "--num-heads", 4)
    assert (model_folder / "model.safetensors").read_bytes() == before
    endofm("convert", checkpoint, model_folder, "--num-heads", 4, "--overwrite")
    assert (model_folder / "model.safetensors").read_bytes() != before


def test_convert_reports_a_missing_file(endofm: Command, tmp_path: Path) -> None:
    with pytest.raises(WeightsNotFoundError, match="no such file"):
        endofm("convert", tmp_path / "missing.pth", tmp_path / "out")


@pytest.mark.usefixtures("registered")
def test_convert_knows_a_registered_file(endofm: Command, checkpoint: Path, tmp_path: Path) -> None:
    said = lines(endofm("convert", checkpoint, tmp_path / "out"))
    assert said["checkpoint"] == f"{checkpoint}, the published file of small"
    assert "4 heads, patches" in said["encoder"]  # known, not assumed
    assert said["licence"] == "mit"
    assert load_weights(tmp_path / "out").config.name == "small"
    with pytest.raises(InputError, match="which has 4 attention heads, not 2"):
        endofm("convert", checkpoint, tmp_path / "other", "--num-heads", 2)
    endofm("convert", checkpoint, tmp_path / "student", "--part", "student", "--num-heads", 4)
    student = load_weights(tmp_path / "student").config
    assert (student.name, student.license) == ("", "mit")


def test_as_a_user_runs_them(hub: LoopbackHub, model_folder: Path, tmp_path: Path) -> None:
    """Real processes: exit status, messages on standard error, results on standard output."""
    hub.commit_folder("owner/model", model_folder)
    torch.save({"teacher": with_head()}, tmp_path / "x.pth")
    environment = hub.environment(tmp_path / "fresh")

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "endofm.cli.main", *map(str, arguments)]
        return subprocess.run(command, env=environment, capture_output=True, text=True)

    fetched = run("download", "owner/model")
    assert fetched.returncode == 0, fetched.stderr
    assert Path(fetched.stdout.strip()).is_relative_to(tmp_path / "fresh")
    converted = run("convert", tmp_path / "x.pth", tmp_path / "out", "--num-heads", 4)
    assert converted.returncode == 0, converted.stderr
    assert (tmp_path / "out" / "config.json").is_file()
    refused = run("convert", tmp_path / "x.pth", tmp_path / "out")
    assert refused.returncode == 1
    assert refused.stderr.startswith("endofm: error: ")
    assert "Traceback" not in refused.stderr
