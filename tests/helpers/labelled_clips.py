"""Features of labelled clips, in memory and as files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from endofm.evaluation.labelled_features import LabelledFeatures
from endofm.tasks.features.results import VideoFeatures


def made_features(videos: int = 18, clips: int = 4, *, seed: int = 0, signal: float = 2.0) -> LabelledFeatures:
    """Return clips of videos of three classes; every video has a strong direction of its own beside its class's."""
    generator = np.random.default_rng(seed)
    centres = np.random.default_rng(99).standard_normal((3, 16))
    rows, labels, groups = [], [], []
    for video in range(videos):
        own = generator.standard_normal(16)
        for _ in range(clips):
            rows.append(signal * centres[video % 3] + own + 0.1 * generator.standard_normal(16))
            labels.append(video % 3)
            groups.append(f"video {video}")
    return LabelledFeatures(
        embeddings=np.array(rows, np.float32),
        labels=np.array(labels),
        groups=groups,
        items=groups,
        classes=("a", "b", "c"),
    )


def write_features(tmp_path: Path) -> Path:
    """Write twelve feature files of two clips each and the list of their labels."""
    data = made_features(12, 2)
    lines = []
    for video in range(12):
        rows = data.embeddings[2 * video : 2 * video + 2]
        features = VideoFeatures(rows, np.array([0.0, 5.0]), np.array([5.0, 10.0]), np.array([[0.0], [5.0]]))
        (tmp_path / "features" / "day").mkdir(parents=True, exist_ok=True)
        features.save(tmp_path / "features" / "day" / f"{video}.mp4.npz")
        lines.append(f"day/{video}.mp4,{'abc'[video % 3]}")
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    return tmp_path
