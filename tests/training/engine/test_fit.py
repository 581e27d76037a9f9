"""Runs on one process: files, logs, and the end of a run."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

from endofm.errors import ConfigError, InputError, JobError, MissingExtraError, TrainingError
from helpers.engine_toy import ToyConfig, rows, train, weights


def test_a_whole_run(tmp_path: Path) -> None:
    task, result = train(tmp_path / "run", ToyConfig())
    assert (result.step, result.finished, result.exit_status) == (18, True, 0)
    train_rows = rows(tmp_path / "run/logs/train.csv")
    assert [int(row["step"]) for row in train_rows] == list(range(2, 19, 2))
    assert {"loss", "entropy", "grad_norm", "lr", "clips_per_second"} <= set(train_rows[0])
    assert [row["score"] for row in rows(tmp_path / "run/logs/validation.csv")] == ["-1.0", "0.0", "-1.0"]
    # Every epoch has every clip once, and the newest two checkpoints are left.
    assert all(len(set(task.seen[i : i + 24])) == 24 for i in (0, 24, 48))
    assert sorted(p.name for p in (tmp_path / "run/checkpoints").iterdir()) == [
        "last",
        "step-00000012.pt",
        "step-00000018.pt",
    ]
    exported = torch.load(tmp_path / "run/export/toy.pt", weights_only=True)
    assert exported["step"] == 18
    assert all(torch.equal(value, task.teacher.state_dict()[name]) for name, value in exported["teacher"].items())


def test_a_finished_run_is_not_changed(tmp_path: Path) -> None:
    train(tmp_path, ToyConfig())
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.pt")}
    task, result = train(tmp_path, ToyConfig())
    assert result.finished
    assert task.seen == []
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.pt")}


def test_the_best_checkpoint_is_kept_and_exported(tmp_path: Path) -> None:
    _, result = train(tmp_path, ToyConfig(), monitor="score", keep=1, epochs=5)
    assert result.best_step == 12
    assert torch.load(tmp_path / "export/toy.pt", weights_only=True)["step"] == 12
    assert (tmp_path / "checkpoints/best").read_text(encoding="utf-8") == "step-00000012.pt\n"
    assert len(list((tmp_path / "checkpoints").glob("*.pt"))) == 2


def test_patience_ends_a_run(tmp_path: Path) -> None:
    _, result = train(tmp_path, ToyConfig(), monitor="score", patience=2, epochs=9)
    assert (result.step, result.finished) == (24, True)
    task, again = train(tmp_path, ToyConfig(), monitor="score", patience=2, epochs=9)
    assert again.finished
    assert task.seen == []
    with pytest.raises(ConfigError, match=r"validation has no metric 'f1'; it has score"):
        train(tmp_path / "other", ToyConfig(), monitor="f1")


def test_other_settings_are_refused_by_name(tmp_path: Path) -> None:
    train(tmp_path, ToyConfig(), epochs=1)
    with pytest.raises(JobError, match=r"lr was 0\.01 and is now 0\.5; run\.epochs was 1 and is now 2"):
        train(tmp_path, ToyConfig(lr=0.5), epochs=2)
    train(tmp_path, ToyConfig(), epochs=1, log_every=7, num_workers=3)


def test_accumulation_computes_the_same(tmp_path: Path) -> None:
    # The centre moves once per part, so it is left out: only the first step is compared.
    train(tmp_path / "one", ToyConfig(dropout=0.0), max_steps=1)
    train(tmp_path / "two", ToyConfig(dropout=0.0), max_steps=1, accumulate=2)
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert all(torch.allclose(one[name], two[name], atol=1e-6) for name in one)


def test_batches_that_cannot_be_read_are_passed_over(tmp_path: Path) -> None:
    task, result = train(tmp_path, ToyConfig(empty=tuple(range(23))), epochs=2)
    assert result.step == 12
    assert task.seen == ["clip-23", "clip-23"]


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"step 7: the loss is not finite \(nan in process 0\)\. The clips .*clip-"):
        train(tmp_path, ToyConfig(nan_at=7))
    dump = torch.load(tmp_path / "not-finite-step-00000007-process-0.pt", weights_only=True)
    assert len(dump["ids"]) == 4
    assert dump["inputs"][0]["x"].shape == (4, 6)
    assert dump["parameters_not_finite"] == []


def test_an_unhealthy_run_stops_or_warns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(TrainingError, match=r"step 4: entropy is .*above 0\. The toy is broken.*on_unhealthy=warn"):
        train_sick(tmp_path / "stop")
    assert (tmp_path / "stop/checkpoints/step-00000004.pt").exists()
    _, result = train_sick(tmp_path / "warn", on_unhealthy="warn")
    assert result.finished
    assert "The toy is broken" in capsys.readouterr().err


def train_sick(folder: Path, **changes: Any) -> Any:
    from endofm.training.engine.training_task import HealthRule
    from helpers import engine_toy

    class Sick(engine_toy.ToyTask):
        def health_rules(self) -> tuple[HealthRule, ...]:
            return (HealthRule(metric="entropy", high=0.0, rows=2, meaning="The toy is broken."),)

    original = engine_toy.ToyTask
    engine_toy.ToyTask = Sick  # type: ignore[misc]
    try:
        return train(folder, ToyConfig(), **changes)
    finally:
        engine_toy.ToyTask = original  # type: ignore[misc]


def test_wandb_gets_every_row_and_the_same_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[dict[str, Any]] = []
    sent: list[tuple[int, dict[str, float]]] = []
    run = SimpleNamespace(log=lambda values, step: sent.append((step, values)), finish=lambda: None)
    wandb = ModuleType("wandb")
    wandb.init = lambda **how: begun.append(how) or run  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    train(tmp_path, ToyConfig(), loggers=("wandb",))
    assert [step for step, values in sent if "train/loss" in values] == list(range(2, 19, 2))
    train(tmp_path, ToyConfig(), loggers=("wandb",))
    assert begun[0]["id"] == begun[1]["id"]
    assert begun[0]["config"]["lr"] == 0.01
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(MissingExtraError, match=r"endofm\[wandb\]"):
        train(tmp_path, ToyConfig(), loggers=("wandb",))


def test_the_network_is_compiled_when_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda module: compiled.append(type(module).__name__))
    train(tmp_path, ToyConfig(), max_steps=1, compile=True)
    assert compiled == ["Net"]


def test_two_runs_in_one_folder_are_refused(tmp_path: Path) -> None:
    from endofm.training.engine.run_folder import RunFolder

    with RunFolder(tmp_path).exclusive(), pytest.raises(JobError, match="another process is writing to this folder"):
        train(tmp_path, ToyConfig())


def test_impossible_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"batch_size 4 cannot be divided evenly.* accumulate 3"):
        train(tmp_path, ToyConfig(), accumulate=3)
    with pytest.raises(InputError, match=r"less than one step: a step takes 32 clips"):
        train(tmp_path, ToyConfig(), batch_size=32)
    with pytest.raises(ConfigError, match=r"grad_checkpointing: this network has no blocks"):
        train(tmp_path, ToyConfig(), grad_checkpointing=True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=r"run\.accelerator is cuda, but torch finds no GPU"):
        train(tmp_path, ToyConfig(), accelerator="cuda")
    for name, value in {"SLURM_NTASKS": "2", "SLURM_NNODES": "1", "SLURM_JOB_NAME": "train"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match="--ntasks-per-node=2"):
        train(tmp_path, ToyConfig())
    monkeypatch.delenv("SLURM_NTASKS")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="this folder cannot be created"):
        train(tmp_path / "file", ToyConfig())
