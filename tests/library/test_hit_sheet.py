"""The picture of a search, with thumbnails out of the videos."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from endofm import FeatureLibrary, demo_video
from endofm.cli.main import main
from endofm.errors import InputError
from endofm.library.hit_sheet import plot_hits
from endofm.library.thumbnails import thumbnail, thumbnails


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("archive")
    (folder / "videos").mkdir()
    shutil.copy(demo_video(), folder / "videos" / "one $x$.mp4")
    out = folder / "features"
    options = ["--weights", "endofm-nano-4x96", "--window-seconds", "2", "--quiet"]
    assert main(["extract", str(folder / "videos"), "-o", str(out), *options]) == 0
    FeatureLibrary(folder / "a.lance").add(out, progress=False)
    return folder


def test_hits_are_drawn_with_their_frames(archive: Path, tmp_path: Path) -> None:
    hits = FeatureLibrary(archive / "a.lance").search("one $x$.mp4@3", 7, same_recording=True)
    pictures = list(thumbnails(hits))
    assert all(picture is not None and picture.ndim == 3 for picture in pictures)
    plot_hits(hits, tmp_path / "hits.png")
    with Image.open(tmp_path / "hits.png") as picture:
        drawn = np.asarray(picture.convert("RGB"), int)
    # Reddish tissue covers a good part of the sheet.
    assert ((drawn[..., 0] - drawn[..., 2]) > 40).mean() > 0.15
    with pytest.raises(InputError, match="no hits"):
        plot_hits(hits[:0], tmp_path / "none.png")


def test_videos_that_were_moved_or_have_gone(archive: Path, tmp_path: Path) -> None:
    hits = FeatureLibrary(archive / "a.lance").search("one $x$.mp4@3", 2, same_recording=True)
    moved = shutil.move(archive / "videos", tmp_path / "moved")
    try:
        assert list(thumbnails(hits)) == [None, None]
        assert all(picture is not None for picture in thumbnails(hits, [moved]))
        assert plot_hits(hits, tmp_path / "hits.png").is_file()
    finally:
        shutil.move(moved, archive / "videos")


def test_a_thumbnail_of_the_very_end() -> None:
    assert thumbnail(demo_video(), 1e6, side=64).shape == (52, 64, 3)
