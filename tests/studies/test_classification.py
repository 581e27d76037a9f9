"""The classification study, end to end at its smallest size."""

from __future__ import annotations

from pathlib import Path

import pytest

from endofm.errors import ConfigError
from endofm.training.config_files import load_config
from helpers.paths import REPOSITORY
from helpers.tiny_study import render_in_this_process, result_times, run_tiny

CONFIGS = REPOSITORY / "studies" / "configs" / "classification"
TINY = {
    "data": {"clips": 10, "patients": 5, "size": 32, "frames": 4, "difficulty": 0},
    "backbones": {"scratch": None},
    "encoder": {"img_size": 16, "patch_size": 8, "num_frames": 2, "embed_dim": 16, "depth": 1, "num_heads": 1},
    "transfers": ["full", "linear"],
    "seeds": [0],
    "finetune": {
        "model": {"window_seconds": 0.3},
        "evaluation": {"time_views": 1, "resamples": 0, "pictures": False},
        "run": {"epochs": 1, "batch_size": 2, "num_workers": 0, "accelerator": "cpu", "loggers": ["csv"]},
    },
}


def test_one_command_runs_all_arms_and_keeps_finished_cells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    render_in_this_process(monkeypatch)
    summary = run_tiny("classification", TINY, tmp_path)
    assert list(summary["arms"]) == ["scratch-full", "scratch-linear"]
    table = capsys.readouterr().out
    assert "| scratch | full |" in table
    assert "Endo-FM | 90.7 | paper (arXiv 2306.16741)" in table
    full, linear = (summary["arms"][f"scratch-{name}"]["parameters_learning"] for name in ("full", "linear"))
    assert full > linear > 0
    before = result_times(tmp_path)
    assert len(before) == 2
    assert run_tiny("classification", TINY, tmp_path) == summary
    assert result_times(tmp_path) == before


@pytest.mark.parametrize("size", ["mini", "full"])
def test_the_configurations_are_valid(size: str) -> None:
    from studies.classification import ClassificationStudySettings

    settings = load_config(ClassificationStudySettings, CONFIGS / f"{size}.yaml")
    for transfer in settings.transfers:
        assert settings.fine_tuning("scratch", transfer, Path("videos"), 3).run.seed == 3


def test_random_weights_need_an_architecture() -> None:
    from studies.classification import ClassificationStudySettings

    with pytest.raises(ConfigError, match="give the architecture, or a backbone with weights"):
        load_config(ClassificationStudySettings, {**TINY, "encoder": None})
