"""Timelines: pictures in every format, and marked peaks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from endofm.errors import InputError
from endofm.tasks.features.results import VideoFeatures
from endofm.video.open import open_video
from endofm.visualize.timeline import plot_timeline
from helpers.made_features import made_features


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_pictures_with_and_without_thumbnails(tmp_path: Path, suffix: str) -> None:
    pytest.importorskip("matplotlib")
    features = made_features(6)
    assert plot_timeline(features, tmp_path / f"plain{suffix}").stat().st_size > 1000
    with open_video(np.zeros((30, 48, 64, 3), np.uint8), fps=1) as source:
        assert plot_timeline(features, tmp_path / f"thumbnails{suffix}", source=source).stat().st_size > 1000


def test_a_video_without_clips_has_no_timeline(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    with pytest.raises(InputError, match="no clips"):
        plot_timeline(replace(made_features(0), provenance={}), tmp_path / "x.png")
    assert not list(tmp_path.iterdir())


def test_peaks_are_marked_with_their_times(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    rows = np.repeat(np.eye(2, 8, dtype=np.float32), 8, axis=0)
    starts = 10.0 * np.arange(16)
    plot_timeline(VideoFeatures(rows, starts, starts + 10, starts[:, None]), tmp_path / "a.svg")
    # Glyphs are drawn as paths, each text after a comment that holds it: once on each axis of time, and at the peak.
    drawn = (tmp_path / "a.svg").read_text(encoding="utf-8")
    assert "<!-- 1:20 -->" in drawn
    assert "<!-- novelty -->" in drawn
