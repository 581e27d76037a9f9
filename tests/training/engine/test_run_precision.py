"""Precision of a run: what `auto` chooses, that runs record it, and that a resumed run keeps it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from endofm.training.engine import run_precision as module
from endofm.training.engine.run_precision import bfloat16_speed, run_precision
from endofm.training.run_config import RunConfig
from helpers.engine_toy import ToyConfig, train

AUTO = RunConfig(precision="auto")


def test_a_requested_precision_is_taken() -> None:
    assert run_precision(RunConfig(precision="16-mixed"), "cpu", "32-true") == "16-mixed"


@pytest.mark.parametrize(("speed", "chosen"), [(0.06, "32-true"), (1.1, "32-true"), (3.0, "bf16-mixed")])
def test_bfloat16_has_to_be_clearly_faster(monkeypatch: pytest.MonkeyPatch, speed: float, chosen: str) -> None:
    monkeypatch.setattr(module, "bfloat16_speed", lambda: speed)
    assert run_precision(AUTO, "cpu", None) == chosen
    assert run_precision(AUTO, "cpu", "32-true") == "32-true"


def test_measuring_draws_no_random_numbers() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    assert 0.001 < bfloat16_speed() < 1000
    assert torch.equal(torch.rand(3), expected)


def test_a_run_records_its_precision_and_keeps_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "bfloat16_speed", lambda: 3.0)
    train(tmp_path, ToyConfig(), precision="auto", max_steps=4)
    assert json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))["precision"] == "bf16-mixed"
    assert "precision: auto" in (tmp_path / "config.yaml").read_text(encoding="utf-8")
    assert "Precision: bf16-mixed" in "".join(capsys.readouterr())
    # Resumed where float32 is faster: the run keeps its first choice.
    monkeypatch.setattr(module, "bfloat16_speed", lambda: 0.1)
    train(tmp_path, ToyConfig(), precision="auto", max_steps=4)
    assert "Precision: bf16-mixed" in "".join(capsys.readouterr())
