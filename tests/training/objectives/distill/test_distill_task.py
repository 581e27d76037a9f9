"""Distillation in the training loop: it learns, it resumes to the same weights, and its export loads."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch

from endofm import EndoFM
from endofm.errors import ConfigError
from endofm.training.config_files import load_config
from endofm.training.pretrain import pretrain
from endofm.training.pretrain_config import PretrainConfig
from helpers.made_pictures import TEACHER, write_pictures, write_teacher

CONFIG = """
objective:
  name: distill
  teacher_sizes: [64, 128]
  picture_size: 64
  warmup_epochs: 1
  learning_rate: 0.1
  views: {{frames: [1, 2]}}
  teachers: [{{model: {model}, weights: {weights}}}]
  cache: {cache}
model:
  name: student
  encoder: {{img_size: 32, num_frames: 4, embed_dim: 24, depth: 1, num_heads: 2}}
data: {{clips: [{clips}]}}
run: {{epochs: 20, batch_size: 8, num_workers: 0, accelerator: cpu, log_every: 2, checkpoint_every_steps: 5}}
"""


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("distill")
    clips = write_pictures(root / "pictures", 17)
    weights = str(write_teacher(root / "teacher.safetensors").weights)
    text = CONFIG.format(model=TEACHER, weights=weights, cache=root / "cache", clips=clips)
    (root / "distill.yaml").write_text(text, encoding="utf-8")
    return root / "distill.yaml"


@pytest.fixture(scope="module")
def trained(settings: Path) -> Path:
    assert pretrain(load_config(PretrainConfig, settings), settings.parent / "run", progress=False).finished
    return settings.parent / "run"


def weights(run: Path, step: int) -> dict[str, torch.Tensor]:
    content = torch.load(run / f"checkpoints/step-{step:08}.pt", weights_only=True)
    network: dict[str, torch.Tensor] = content["network"]
    return network


def test_the_loss_falls(trained: Path) -> None:
    with (trained / "logs/train.csv").open(encoding="utf-8", newline="") as file:
        losses = [float(row["loss"]) for row in csv.DictReader(file)]
    assert losses[-1] < losses[0] - 0.1


def test_a_stopped_run_resumes_to_the_same_weights(
    settings: Path, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = settings.parent / "stopped"
    from endofm.training.engine.loop import TrainingLoop

    class Stopped(Exception):
        pass

    original = TrainingLoop.step

    def step(self: TrainingLoop, batches: list[object]) -> float:
        if self.session.step == 12:
            raise Stopped
        return original(self, batches)

    monkeypatch.setattr(TrainingLoop, "step", step)
    with pytest.raises(Stopped):
        pretrain(load_config(PretrainConfig, settings), run, progress=False)
    monkeypatch.undo()
    assert pretrain(load_config(PretrainConfig, settings), run, progress=False).finished
    one, other = weights(trained, 40), weights(run, 40)
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_the_export_is_the_student(trained: Path) -> None:
    model = EndoFM.from_pretrained(trained / "export")
    for name, tensor in weights(trained, 40).items():
        assert torch.equal(tensor, model.state_dict()[name.removeprefix("backbone.")])
    card = (trained / "export/README.md").read_text(encoding="utf-8")
    assert "objective `distill`" in card
    assert f"`{TEACHER}`" in card


def test_a_wider_student_predicts_through_a_linear_layer(settings: Path, tmp_path: Path) -> None:
    wide = ["model.encoder.embed_dim=120", "model.encoder.num_heads=4", "run.max_steps=2"]
    config = load_config(PretrainConfig, settings, wide)
    assert pretrain(config, tmp_path / "run", progress=False).finished
    assert weights(tmp_path / "run", 2)["head.weight"].shape == (96, 120)
    assert EndoFM.from_pretrained(tmp_path / "run/export").config.encoder.embed_dim == 120


def test_what_a_distillation_cannot_use_is_refused(settings: Path) -> None:
    with pytest.raises(ConfigError, match="name them in data.clips, not data.shards"):
        load_config(PretrainConfig, settings, ["data.clips=[]", "data.shards=shards"])
