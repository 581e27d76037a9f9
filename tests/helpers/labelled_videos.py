"""Labelled videos that a small classifier tells apart within seconds, and settings of small runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from endofm.training.config_files import load_config
from endofm.training.finetune.classification_config import ClassificationConfig
from endofm.video.writer import write_video

ENCODER = {"img_size": 32, "num_frames": 2, "embed_dim": 32, "depth": 2, "num_heads": 2}


def make_videos(folder: Path, count: int = 12, *, frames: int = 12) -> Path:
    """Write ``videos/N.mp4`` (odd ones have a bright spot) and the lists ``train.csv`` and ``test.csv``."""
    (folder / "videos").mkdir(parents=True)
    lines = []
    for number in range(count):
        rng = np.random.default_rng(number)
        pixels = rng.integers(40, 90, (frames, 40, 56, 3), np.uint8)
        if number % 2:
            top, left = rng.integers(0, 20, 2)
            pixels[:, top : top + 20, left : left + 20] = 230
        write_video(folder / "videos" / f"{number}.mp4", pixels, fps=10)
        lines.append(f"videos/{number}.mp4,{('normal', 'polyp')[number % 2]}")
    (folder / "train.csv").write_text("\n".join(lines[: count - 4]) + "\n")
    (folder / "test.csv").write_text("\n".join(lines[count - 4 :]) + "\n")
    return folder


def settings(folder: Path, *overrides: str, **values: Any) -> ClassificationConfig:
    """Return the settings of a run of seconds on :func:`make_videos`."""
    given: dict[str, Any] = {
        "model": {"encoder": ENCODER, "window_seconds": 0.8, "name": "spots"},
        "data": {"train": [str(folder / "train.csv")], "test": [str(folder / "test.csv")], "validation_fraction": 0.3},
        "optimizer": {"learning_rate": 3e-3, "weight_decay": 0.01},
        "evaluation": {"resamples": 5, "pictures": False},
        "run": {
            "epochs": 3,
            "batch_size": 3,
            "num_workers": 0,
            "accelerator": "cpu",
            "monitor": "balanced_accuracy",
            "log_every": 1,
            "loggers": ["csv"],
        },
        **values,
    }
    return load_config(ClassificationConfig, given, overrides)
