"""Frames and videos with true and predicted boxes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from endofm.evaluation.detection_records import (
    DetectionResults,
    FrameResult,
    VideoResult,
)

LABELS = ("adenomatous", "hyperplastic")


Rows = list[tuple[float, float, float, float]]


def frame(
    true: Rows, found: Rows, scores: list[float], *, tracks: list[int] | None = None, **more: object
) -> FrameResult:
    values: dict[str, object] = {
        "path": Path("none.png"),
        "true_boxes": np.array(true, np.float32).reshape(-1, 4),
        "true_labels": np.zeros(len(true), np.int64),
        "true_tracks": np.array(range(len(true)) if tracks is None else tracks, np.int64),
        "boxes": np.array(found, np.float32).reshape(-1, 4),
        "scores": np.array(scores, np.float32),
        "labels": np.zeros(len(found), np.int64),
        "name": "v/1",
        **more,
    }
    return FrameResult(**values)  # type: ignore[arg-type]


def random_results(seed: int, videos: int = 4, frames: int = 5) -> DetectionResults:
    rng = np.random.default_rng(seed)

    def some(count: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        corner = rng.uniform(0, 60, (count, 2))
        return np.concatenate((corner, corner + rng.uniform(15, 30, (count, 2))), 1).astype(np.float32)

    made = []
    for v in range(videos):
        own = []
        for i in range(frames):
            true = some(int(rng.integers(0, 3)))
            near = true + rng.normal(0, 3, true.shape)
            found = np.concatenate((near, some(int(rng.integers(0, 3))))).astype(np.float32)
            own.append(
                FrameResult(
                    path=Path("x"),
                    true_boxes=true,
                    true_labels=rng.integers(0, 2, len(true)),
                    true_tracks=np.arange(len(true)),
                    boxes=found,
                    scores=rng.random(len(found)).astype(np.float32),
                    labels=rng.integers(0, 2, len(found)),
                    name=f"{v}/{i}",
                )
            )
        made.append(VideoResult(f"v{v}", f"p{v // 2}", 2.0, tuple(own)))
    return DetectionResults(LABELS, tuple(made))
