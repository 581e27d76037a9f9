from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from endofm import demo_video
from endofm.cli.main import main
from endofm.data.prepare.catalogue import find_set
from endofm.data.prepare.estimate import estimate_preparation
from endofm.data.prepare.preparation import plan, prepare


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    """Return a folder of six recordings of 198 frames."""
    folder = tmp_path / "recordings"
    folder.mkdir()
    for number in range(6):
        shutil.copy(demo_video(), folder / f"{number}.mp4")
    return folder


def test_the_estimate_is_close_to_what_a_preparation_gives(recordings: Path, tmp_path: Path) -> None:
    recipe = find_set("folder")
    estimate = estimate_preparation(recipe, recordings, plan(recipe, recordings).items, recipe.clip_format)
    assert estimate is not None
    report = prepare(recipe, recordings, tmp_path / "out", jobs=1, progress=False)
    assert (estimate.sources, estimate.frames, estimate.clips) == (report.sources, report.frames, report.clips)
    assert estimate.seconds == pytest.approx(6 * 19.8, rel=0.05)
    size = sum(path.stat().st_size for path in (tmp_path / "out").rglob("*.mp4"))
    assert estimate.disk_bytes == pytest.approx(size, rel=0.3)
    assert estimate.core_seconds > 0


def test_a_dry_run_prints_it_beside_the_table(
    recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "prepare", "folder", str(recordings), str(tmp_path / "out"), "--dry-run", "--jobs", "2"]) == 0
    printed = capsys.readouterr()
    assert len(printed.out.splitlines()) == 6
    assert [line.partition(":")[0] for line in printed.err.splitlines()] == ["video", "disk", "time"]
    assert "with 2 processes" in printed.err
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_read_does_not_count(recordings: Path) -> None:
    (recordings / "7.mp4").write_bytes(b"nothing of a video")
    recipe = find_set("folder")
    estimate = estimate_preparation(recipe, recordings, plan(recipe, recordings).items, recipe.clip_format)
    assert estimate is not None
    assert estimate.sources == 7
    only = plan(recipe, recordings).items[-1:]
    assert estimate_preparation(recipe, recordings, only, recipe.clip_format) is None
