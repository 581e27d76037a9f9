"""Settings of small segmentation runs, and clips for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from endofm.training.config_files import load_config
from endofm.training.finetune.segmentation_config import SegmentationConfig

SMALL: dict[str, Any] = {
    "model": {
        "encoder": {"img_size": 48, "num_frames": 3, "embed_dim": 32, "depth": 2, "num_heads": 2},
        "network": "light",
        "light_width": 32,
        "num_frames": 3,
        "name": "small",
    },
    "data": {"num_frames": 3},
    "optimizer": {"learning_rate": 2e-3},
    "evaluation": {"num_frames": 3, "overlap": 1, "resamples": 20, "worst": 4},
    "run": {"epochs": 2, "batch_size": 2, "num_workers": 0, "monitor": "dice_clip", "loggers": ["csv"]},
}


def settings(data: Path | str, *overrides: str) -> SegmentationConfig:
    return load_config(SegmentationConfig, SMALL, [f"data.train={data}", *overrides])
