"""Feature files of made-up recordings, for libraries.

The recordings of one kind resemble each other, and all embeddings share a large component, as those of encoders do.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from endofm.tasks.features.results import VideoFeatures

DIM = 16
WEIGHTS = {"source": "made", "sha256": "ab" * 32, "config": {"name": "made", "trained": True}}
_COMMON = np.random.default_rng(99).standard_normal(DIM) * 3


def recording(number: int, *, clips: int = 12, kinds: int = 4, **provenance: Any) -> VideoFeatures:
    """Return a recording in which clip ``i`` shows the kind ``i % kinds``."""
    rng = np.random.default_rng(number)
    centres = np.random.default_rng(7).standard_normal((kinds, DIM))
    rows = _COMMON + centres[np.arange(clips) % kinds] + rng.standard_normal((clips, DIM)) * 0.3
    starts = np.arange(clips) * 5.0
    video = {"name": f"{number}.mp4", "size_bytes": 1000 + number, "end_seconds": clips * 5.0}
    return VideoFeatures(
        rows.astype(np.float32),
        starts,
        starts + 5,
        starts[:, None] + np.linspace(0, 4.9, 4),
        provenance={
            "weights": WEIGHTS,
            "preprocess": {"crop_size": 32, "field_of_view": False},
            "windows": {"num_frames": 4, "window_seconds": 5.0, "hop_seconds": 5.0},
            "precision": "exact",
            "video": video,
            **provenance,
        },
    )


def write_recordings(folder: Path, count: int, *, first: int = 0, **options: Any) -> Path:
    """Write recordings as ``endofm extract`` names them; return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(first, first + count):
        recording(number, **options).save(folder / f"{number}.mp4.safetensors")
    return folder
