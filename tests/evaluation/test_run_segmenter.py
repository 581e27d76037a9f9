"""Segmentation models on clips with masks: scores, unreadable frames, windows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from endofm.data.segmentation.masked_clips import read_list
from endofm.evaluation.run_segmenter import run_segmenter
from endofm.evaluation.worst_frames import WorstFrames
from endofm.tasks.segmentation.stream import clip_probabilities
from helpers.masked_sets import folder_set
from helpers.small_segmenter import small_segmenter


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_set(tmp_path_factory.mktemp("clips"))


@pytest.mark.parametrize("at", ["frame", "network"])
def test_a_perfect_model_scores_perfectly(clips: Path, at: str) -> None:
    model = small_segmenter("light")
    model.forward = lambda pixels: 50 * torch.stack([-pixels.mean(1), pixels.mean(1)], dim=1)  # type: ignore[method-assign]
    worst = WorstFrames(3)
    scores = run_segmenter(
        model,
        read_list(clips, part="test"),
        mask_rule="bright",
        size=at,
        num_frames=4,
        overlap=1,
        worst=worst,
    )
    assert scores[0].clip_dice > 0.9
    assert len(worst) == 3


def test_constant_and_unreadable_frames_are_told_of(tmp_path: Path) -> None:
    root = folder_set(tmp_path, clips=5)
    Image.fromarray(np.full((48, 64, 3), 9, np.uint8)).save(root / "frames/2/4.png")
    (root / "frames/3/2.png").write_bytes(b"no picture")
    notes: list[str] = []
    scores = run_segmenter(small_segmenter("light"), read_list(root, part="train"), mask_rule="bright", notes=notes)
    assert [score.id for score in scores] == ["frames/2", "frames/4"]
    assert "frames/2: 1 frames are one single colour, the first is frame 3." in notes
    assert any("frames/3 was left out" in note and "frames/3/2.png" in note for note in notes)


@pytest.mark.parametrize(("length", "window", "overlap"), [(7, 3, 1), (6, 4, 2), (3, 8, 2), (5, None, 0), (4, 4, 1)])
def test_windows_in_memory_are_those_of_the_stream(length: int, window: int | None, overlap: int) -> None:
    model = small_segmenter()
    draws = np.random.default_rng(0)
    frames = draws.integers(0, 256, (length, 64, 64, 3), dtype=np.uint8)
    with torch.no_grad():
        maps = clip_probabilities(model, model.processor(frames), num_frames=window, overlap=overlap)
    assert maps.sum(0).allclose(torch.ones(()))
    window = window or length
    masks = model.predict(frames, num_frames=window, overlap=min(overlap, window - 1), progress=False)
    np.testing.assert_array_equal(masks.to_array(), maps.argmax(0).numpy())
