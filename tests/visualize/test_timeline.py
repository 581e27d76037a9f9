"""Timelines: the novelty of clips, and pictures in every format."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from endofm.errors import InputError
from endofm.video.open import open_video
from endofm.visualize.timeline import novelty_curve, plot_timeline
from helpers.made_features import made_features


def test_novelty_peaks_where_the_video_changes() -> None:
    similarity = np.kron(np.eye(2), np.ones((8, 8)))
    curve = novelty_curve(similarity)
    assert curve.shape == (16,)
    assert int(curve.argmax()) == 8
    assert curve.min() >= 0
    assert len(novelty_curve(np.zeros((0, 0)))) == 0
    np.testing.assert_allclose(novelty_curve(np.ones((5, 5))), 0, atol=1e-12)


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
