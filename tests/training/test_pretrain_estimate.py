from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from endofm import demo_video
from endofm.cli.main import main

SMALL = ["run.num_workers=0", "run.batch_size=2", "run.epochs=3"]


def test_a_dry_run_measures_and_keeps_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "videos").mkdir()
    for number in range(4):
        shutil.copy(demo_video(), tmp_path / "videos" / f"{number}.mp4")
    assert main(["pretrain", "nano", "data.clips=videos", *SMALL, "--dry-run"]) == 0
    printed = capsys.readouterr()
    data, time, memory, disk, measured = printed.out.splitlines()
    assert data == "data: 4 clips, 6 steps of 2"
    assert time.startswith("time: about ")
    assert " clips per second on " in time
    assert " at 2 clips a step" in memory
    assert disk.startswith("disk: ")
    assert "nothing was kept" in measured
    assert printed.err == ""
    assert [path.name for path in tmp_path.iterdir()] == ["videos"]


def test_a_distillation_is_not_estimated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["pretrain", "distill", "data.clips=videos", "--dry-run"]) == 1
    assert "teachers' maps before the first" in capsys.readouterr().err
