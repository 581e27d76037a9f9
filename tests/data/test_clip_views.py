"""The views of a video in fine-tuning: which frames, and which pixels."""

from __future__ import annotations

import json
from fractions import Fraction

import numpy as np
import pytest

from endofm.config import EncoderConfig
from endofm.data.clip_views import EvaluationPixels, PublishedFrames, TrainingPixels, WindowView
from endofm.tasks.classification.layout import published_preprocess
from helpers.golden_fill import uint8_clip
from helpers.paths import GOLDEN

PUBLISHED = published_preprocess(EncoderConfig())


def test_the_original_s_frames() -> None:
    cases = json.loads((GOLDEN / "decoding_indices.json").read_text())["clip"]
    compared = 0
    for case in cases:
        if not case["has_duration"] or case["clip_idx"] < 0:
            continue
        n, fps = case["n"], float(Fraction(*case["fps"]))
        times = np.arange(n) / fps
        sampled = PublishedFrames(8, case["clip_idx"], case["num_clips"])(times, n / fps, np.random.default_rng(0))
        assert np.rint(sampled * fps).astype(int).tolist() == case["indices"], case
        compared += 1
    assert compared >= 20


def test_frames_0_to_255_of_a_long_video() -> None:
    times = np.arange(900) / 30
    indices = np.rint(PublishedFrames(8)(times, 30.0, np.random.default_rng(0)) * 30).astype(int)
    assert indices.tolist() == [0, 36, 72, 109, 145, 182, 218, 255]
    drawn = PublishedFrames(8, None)(times, 30.0, np.random.default_rng(3))
    assert drawn[-1] - drawn[0] == pytest.approx(8.5, abs=0.05)


def test_windows_lie_evenly() -> None:
    times = np.arange(100) / 10
    generator = np.random.default_rng(0)
    starts = [WindowView(4, 2.0, view, 3)(times, 10.0, generator)[0] for view in range(3)]
    assert starts == pytest.approx([0, 4, 8], abs=0.11)
    assert WindowView(4, 2.0)(times, 10.0, generator)[0] == pytest.approx(4, abs=0.11)
    assert len(WindowView(4, 60.0, 1, 3)(times, 10.0, generator)) == 4


def test_the_original_s_crops() -> None:
    golden = np.load(GOLDEN / "preprocess.npz")
    frames = uint8_clip("land", (8, 240, 320, 3))
    generator = np.random.default_rng(0)
    one = EvaluationPixels(PUBLISHED)(frames, generator)[0]
    np.testing.assert_allclose(one[:, ::3, ::9, ::9], golden["val_land/sub"], atol=1e-5)
    three = EvaluationPixels(PUBLISHED, 3)(frames, generator)
    for crop in range(3):
        np.testing.assert_allclose(three[crop][:, ::3, ::9, ::9], golden[f"test_land_{crop}/sub"], atol=1e-5)


def test_training_pixels_vary_with_the_draw_alone() -> None:
    frames = uint8_clip("land", (2, 300, 400, 3))
    make = TrainingPixels(PUBLISHED)
    first, again, other = (make(frames, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first.shape == (3, 2, 224, 224)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
