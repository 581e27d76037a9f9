"""Precision of a run: what `auto` chooses, that runs record it, and that a resumed run keeps it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from endofm.training.engine import run_precision as module
from endofm.training.engine.run_precision import mixed_speed, run_precision
from endofm.training.run_config import FixedPrecision, RunConfig
from helpers.engine_toy import ToyConfig, train

AUTO = RunConfig(precision="auto")


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "16-mixed"])
def test_a_requested_precision_is_taken_where_it_is_not_slower(
    monkeypatch: pytest.MonkeyPatch, precision: FixedPrecision
) -> None:
    run = RunConfig(precision=precision)
    monkeypatch.setattr(module, "mixed_speed", lambda dtype: 1.1)
    assert run_precision(run, "cpu", None) == precision
    monkeypatch.setattr(module, "mixed_speed", lambda dtype: 0.06)
    assert run_precision(run, "cpu", None) == "32-true"
    assert run_precision(run, "cuda", None) == precision
    # A run that was begun where it is fast.
    assert run_precision(run, "cpu", precision) == precision


@pytest.mark.parametrize(("speed", "chosen"), [(0.06, "32-true"), (1.1, "32-true"), (3.0, "bf16-mixed")])
def test_bfloat16_has_to_be_clearly_faster(monkeypatch: pytest.MonkeyPatch, speed: float, chosen: str) -> None:
    monkeypatch.setattr(module, "mixed_speed", lambda dtype: speed)
    assert run_precision(AUTO, "cpu", None) == chosen
    assert run_precision(AUTO, "cpu", "32-true") == "32-true"


def test_a_replaced_precision_is_told_and_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "mixed_speed", lambda dtype: 0.06)
    train(tmp_path, ToyConfig(), precision="bf16-mixed", max_steps=2)
    assert json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))["precision"] == "32-true"
    said = "Precision: 32-true (run.precision is bf16-mixed, which is slower than 32-true on this processor)."
    assert said in "".join(capsys.readouterr())


def test_measuring_draws_no_random_numbers() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    assert 0.001 < mixed_speed(torch.bfloat16) < 1000
    assert torch.equal(torch.rand(3), expected)


def test_a_run_records_its_precision_and_keeps_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "mixed_speed", lambda dtype: 3.0)
    train(tmp_path, ToyConfig(), precision="auto", max_steps=4)
    assert json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))["precision"] == "bf16-mixed"
    assert "precision: auto" in (tmp_path / "config.yaml").read_text(encoding="utf-8")
    assert "Precision: bf16-mixed" in "".join(capsys.readouterr())
    # Resumed where float32 is faster: the run keeps its first choice.
    monkeypatch.setattr(module, "mixed_speed", lambda dtype: 0.1)
    train(tmp_path, ToyConfig(), precision="auto", max_steps=4)
    assert "Precision: bf16-mixed" in "".join(capsys.readouterr())
