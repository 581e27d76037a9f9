"""The segmentation study, end to end at its smallest size."""

from __future__ import annotations

from pathlib import Path

import pytest

from endofm.errors import ConfigError
from endofm.training.config_files import load_config
from helpers.paths import REPOSITORY
from helpers.tiny_study import render_in_this_process, result_times, run_tiny

CONFIGS = REPOSITORY / "studies" / "configs" / "segmentation"
TINY = {
    "data": {"pretrain_clips": 4, "pretrain_patients": 2, "clips": 5, "patients": 5, "size": 48, "frames": 4},
    "encoder": {"img_size": 48, "num_frames": 2, "embed_dim": 32, "depth": 1, "num_heads": 2},
    "objectives": {
        "vcl": {
            "name": "vcl",
            "concepts": 8,
            "hidden_dim": 32,
            "contrast_dim": 16,
            "clip_frames": 2,
            "max_stride": 2,
            "crop_size": 48,
            "queue_size": 16,
            "warmup_epochs": 0,
        }
    },
    "pretrain": {"max_steps": 1, "batch_size": 4, "num_workers": 0, "loggers": ["csv"], "on_unhealthy": "warn"},
    "finetune": {
        "model": {"light_width": 32, "num_frames": 2},
        "data": {"num_frames": 2},
        "evaluation": {"num_frames": 2, "overlap": 0, "resamples": 0, "worst": 2},
        "run": {"epochs": 9, "batch_size": 2, "num_workers": 0, "monitor": "dice_clip", "loggers": ["csv"]},
    },
    "steps": 1,
    "seeds": [0],
    "arms": {"scratch": {"network": "light"}, "vcl": {"start": "vcl", "network": "light"}},
}


def test_one_command_runs_all_arms_and_keeps_finished_cells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    render_in_this_process(monkeypatch)
    summary = run_tiny("segmentation", TINY, tmp_path)
    table = capsys.readouterr().out
    assert "| scratch |" in table
    assert "| vcl |" in table
    before = result_times(tmp_path)
    assert len(before) == 2
    assert run_tiny("segmentation", TINY, tmp_path) == summary
    assert result_times(tmp_path) == before
    assert summary["arms"]["vcl"]["paper_dice"] == 69.1
    assert summary["arms"]["scratch"]["metrics"]["dice_clip"]["mean"] is not None


@pytest.mark.parametrize("size", ["mini", "small", "full"])
def test_the_configurations_are_valid(size: str) -> None:
    from studies.segmentation import SegmentationStudySettings

    settings = load_config(SegmentationStudySettings, CONFIGS / f"{size}.yaml")
    for arm in settings.arms.values():
        assert settings.fine_tuning(arm, 0, Path("masks"), None).run.max_steps == settings.steps


def test_an_arm_starts_from_a_known_objective() -> None:
    from studies.segmentation import SegmentationStudySettings

    with pytest.raises(ConfigError, match=r"arm 'a' starts from 'dino'; there are scratch, vcl"):
        load_config(SegmentationStudySettings, {**TINY, "arms": {"a": {"start": "dino"}}})


def test_other_pretraining_settings_have_another_encoder_folder(tmp_path: Path) -> None:
    from studies.segmentation import SegmentationStudy, SegmentationStudySettings

    def encoder_folder(*overrides: str) -> Path:
        settings = load_config(SegmentationStudySettings, CONFIGS / "mini.yaml", overrides)
        return SegmentationStudy(settings, tmp_path).encoder_folder("vcl")

    usual = encoder_folder()
    assert encoder_folder("objectives.vcl.learning_rate=0.1") != usual
    assert encoder_folder("pretrain.epochs=2") != usual
    assert encoder_folder("steps=7", "seeds=[3]", "objectives.endofm.learning_rate=0.1") == usual
