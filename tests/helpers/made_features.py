"""Features with random values."""

from __future__ import annotations

from typing import Any

import numpy as np

from endofm.tasks.features.results import VideoFeatures


def made_features(
    clips: int = 3, dim: int = 4, frames: int = 2, level: str = "patch", seed: int = 0, **more: Any
) -> VideoFeatures:
    """Return random features, clips of 5 s one after the other; further arguments are those of the class."""
    rng = np.random.default_rng(seed)

    def draw(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    starts = np.arange(clips) * 5.0
    return VideoFeatures(
        draw(clips, dim),
        starts,
        starts + 5,
        starts[:, None] + np.linspace(0, 4.9, frames),
        None if level == "clip" else draw(clips, frames, dim),
        draw(clips, frames, 2, 3, dim) if level == "patch" else None,
        **more,
    )
