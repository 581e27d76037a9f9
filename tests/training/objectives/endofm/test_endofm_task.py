"""Endo-FM's objective in the training loop: full runs, several processes, collapse, stochastic depth."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from endofm.config import EncoderConfig
from endofm.errors import ConfigError
from endofm.models.encoder import VideoTransformer
from endofm.training.engine.run_checkpoints import read_run_checkpoint
from endofm.training.engine.training_task import Plan
from endofm.training.objectives.endofm.cross_view_loss import mutual_information
from endofm.training.objectives.endofm.endofm_config import EndoFMFixedConfig, EndoFMPublishedConfig
from endofm.training.objectives.endofm.endofm_task import EndoFMTask
from helpers.endofm_run import HEAD, MODEL, VIEWS, TinyConfig, balanced, train
from helpers.paths import REPOSITORY, TESTS


def saved(folder: Path) -> dict[str, Any]:
    (path,) = sorted((folder / "checkpoints").glob("*"))[-1:]
    content: dict[str, Any] = read_run_checkpoint(path)
    return content


def close(one: dict[str, Any], other: dict[str, Any]) -> None:
    """The same weights and the same centre, but for rounding; see the golden test for the biases of keys."""
    for a, b in (
        (one["network"], other["network"]),
        *((one["helpers"][n], other["helpers"][n]) for n in one["helpers"]),
    ):
        assert a.keys() == b.keys()
        for name, tensor in a.items():
            if not name.endswith("qkv.bias"):
                torch.testing.assert_close(tensor, b[name], rtol=1e-3, atol=2e-5, msg=name)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, EndoFMTask, dict[str, float]]:
    folder = tmp_path_factory.mktemp("whole")
    task, result = train(folder)
    assert result.finished
    return folder, task, result.metrics


def test_a_run_moves_everything_and_saves_it(whole: tuple[Path, EndoFMTask, dict[str, float]]) -> None:
    folder, task, metrics = whole
    assert set(metrics) >= {
        "loss", "learning_rate", "weight_decay", "teacher_momentum", "teacher_temp", "teacher_entropy",
        "teacher_information", "center_norm", "largest_gradient", "clipped",
    }  # fmt: skip
    content = saved(folder)
    assert content["helpers"]["loss"]["center"].norm() > 0
    assert "head.last_layer.weight_g" in content["network"]
    torch.manual_seed(0)
    student, teacher = content["network"], content["helpers"]["teacher"]
    assert student.keys() == teacher.keys()
    different = [name for name in student if not torch.equal(student[name], teacher[name])]
    assert set(student) - set(different) == {"head.last_layer.weight_g"}
    assert task.encoder is task.teacher.backbone


def test_parts_of_a_batch_make_the_same_step(whole: tuple[Path, Any, Any], tmp_path: Path) -> None:
    train(tmp_path, accumulate=2)
    close(saved(tmp_path), saved(whole[0]))


def test_two_processes_train_as_one(whole: tuple[Path, Any, Any], tmp_path: Path) -> None:
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    command = [*launch, str(TESTS / "helpers" / "endofm_run.py"), str(tmp_path), "ddp", "fsdp", "sinkhorn"]
    paths = os.pathsep.join([str(TESTS), str(REPOSITORY)])
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    for strategy in ("ddp", "fsdp"):
        close(saved(tmp_path / strategy), saved(whole[0]))
    train(tmp_path / "alone", balanced())
    close(saved(tmp_path / "sinkhorn"), saved(tmp_path / "alone"))


def test_sinkhorn_balances_the_prototypes() -> None:
    """Outputs that hardly differ, as those of a fresh network: the running mean leaves them alike, balance does not."""
    task = EndoFMTask(balanced().objective, VideoTransformer(MODEL.encoder))
    torch.manual_seed(0)
    logits = torch.randn(1, HEAD.out_dim) + 0.01 * torch.randn(64, HEAD.out_dim)
    targets = task.targets(logits, 0.005)
    torch.testing.assert_close(targets.sum(dim=1), torch.ones(64))
    share = targets.mean(dim=0) * HEAD.out_dim
    assert share.min() > 0.8
    assert share.max() < 1.25
    assert mutual_information(targets) > 10 * mutual_information(task.loss.targets(logits, 0.005))
    with pytest.raises(ConfigError, match="centering must be one of running_mean, sinkhorn"):
        replace(task.config, centering="none")  # type: ignore[arg-type]


def test_the_anchor_keeps_the_start(tmp_path: Path) -> None:
    """Class tokens stay nearer to the initial encoder's, and the normalised head trains and resumes with it."""
    tasks = {}
    for weight in (0.0, 20.0):
        tiny = TinyConfig()
        head = replace(HEAD, norm="batch")
        config = replace(tiny, objective=replace(tiny.objective, anchor_weight=weight, head=head))
        tasks[weight], result = train(tmp_path / str(weight), config, epochs=4)
        assert ("anchor" in result.metrics) == bool(weight)
    start, clip = tasks[20.0].anchor, torch.randn(16, 3, 2, 32, 32, generator=torch.Generator().manual_seed(0))
    assert start is not None
    assert "anchor" in saved(tmp_path / "20.0")["helpers"]
    moved = {
        weight: (1 - torch.cosine_similarity(task.network.backbone(clip), start(clip))).mean().item()
        for weight, task in tasks.items()
    }
    assert moved[20.0] < moved[0.0] / 2


def test_half_precision_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("endofm.training.engine.run_precision.mixed_speed", lambda dtype: 2.0)
    _, result = train(tmp_path, precision="bf16-mixed", epochs=1)
    assert result.finished
    assert saved(tmp_path)["helpers"]["teacher"]["backbone.cls_token"].dtype == torch.float32


def test_drop_path_acts_in_the_published_teacher_only() -> None:
    clip = torch.randn(8, 3, 2, 32, 32)
    encoder = VideoTransformer(MODEL.encoder)
    for block in encoder.blocks:
        torch.nn.init.normal_(block.temporal_fc.weight, std=0.1)
    for config, still in (
        (EndoFMFixedConfig(drop_path_rate=0.5), True),
        (EndoFMPublishedConfig(drop_path_rate=0.5), False),
    ):
        task = EndoFMTask(replace(config, views=VIEWS, head=HEAD), encoder)
        task.set_training(True)
        with torch.no_grad():
            assert not torch.equal(task.network([clip]).logits, task.network([clip]).logits)
            assert torch.equal(task.teacher([clip]).logits, task.teacher([clip]).logits) == still
        task.set_training(False)
        with torch.no_grad():
            assert torch.equal(task.network([clip]).logits, task.teacher([clip]).logits)


def test_incompatible_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="local_size 20 is not a multiple of the patch size 16"):
        EndoFMTask(EndoFMFixedConfig(views=replace(VIEWS, local_size=20)), VideoTransformer(MODEL.encoder))
    task = EndoFMTask(TinyConfig().objective, VideoTransformer(EncoderConfig(**vars(MODEL.encoder))))
    with pytest.raises(ConfigError, match="warmup_epochs 1 is longer than the run of 1 epochs"):
        task.prepare(Plan(steps_per_epoch=10, total_steps=5, batch_size=4))
