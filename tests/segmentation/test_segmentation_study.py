"""The study of starts, end to end on next to nothing, and once more from what it kept."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from helpers.paths import REPOSITORY

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


def study(config: Path, out: Path, *more: str) -> str:
    command = [
        sys.executable,
        "-W",
        "ignore",
        "benchmarks/segmentation_study",
        "--config",
        str(config),
        "--out",
        str(out),
    ]
    return subprocess.run([*command, *more], capture_output=True, text=True, check=True, cwd=REPOSITORY).stdout


def test_the_study_runs_and_keeps_what_is_done(tmp_path: Path) -> None:
    config = tmp_path / "tiny.yaml"
    config.write_text(json.dumps(TINY))  # JSON is YAML
    table = study(config, tmp_path / "out")
    assert "| scratch |" in table
    assert "| vcl |" in table
    assert (tmp_path / "out/tiny.png").stat().st_size > 1000
    results = sorted((tmp_path / "out/cells").rglob("result.json"))
    assert len(results) == 2
    before = [path.stat().st_mtime_ns for path in results]
    assert study(config, tmp_path / "out") == table
    assert [path.stat().st_mtime_ns for path in results] == before
    summary = json.loads((tmp_path / "out/tiny.json").read_text())
    assert summary["arms"]["vcl"]["paper_dice"] == 69.1
    assert summary["arms"]["scratch"]["metrics"]["dice_clip"]["mean"] is not None
