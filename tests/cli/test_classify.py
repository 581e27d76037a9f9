"""``endofm classify``: a folder, and one video."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from endofm.cli.main import main
from endofm.video.writer import write_video
from helpers.small_classifier import classifier


@pytest.fixture
def frames() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (35, 48, 64, 3), np.uint8)


def test_the_command(frames: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = classifier().save_pretrained(tmp_path / "model")
    (tmp_path / "videos").mkdir()
    write_video(tmp_path / "videos" / "one.mp4", frames, fps=10)
    (tmp_path / "videos" / "broken.mp4").write_bytes(b"no video")
    command = ["classify", str(tmp_path / "videos"), "-o", str(tmp_path / "out"), "--weights", str(folder)]
    assert main([*command, "--hop-seconds", "-1"]) == 1
    assert not (tmp_path / "out").exists()  # options are checked before anything is written
    capsys.readouterr()
    command += ["--plot", "--hop-seconds", "0.5"]
    assert main(command) == 1
    printed = capsys.readouterr()
    assert "broken.mp4" in printed.err
    assert "one.mp4:" in printed.out
    assert "medical advice" in printed.out
    assert len(json.loads((tmp_path / "out" / "one.mp4.json").read_text())["clips"]) == 6
    assert (tmp_path / "out" / "one.mp4.json.png").is_file()
    rows = json.loads((tmp_path / "out" / "manifest.json").read_text())["videos"]
    done = next(row for row in rows if row["status"] == "done")
    assert set(done["probabilities"]) == {"normal", "polyp", "blood"}
    (tmp_path / "videos" / "broken.mp4").unlink()
    assert main(command) == 0
    assert "1 of 1 videos" in capsys.readouterr().out


def test_the_command_writes_one_video_to_named_files(frames: np.ndarray, tmp_path: Path) -> None:
    folder = classifier().save_pretrained(tmp_path / "model")
    write_video(tmp_path / "one.mp4", frames, fps=10)
    command = ["classify", str(tmp_path / "one.mp4"), "--weights", str(folder), "--quiet"]
    files = [tmp_path / "clips.csv", tmp_path / "clips.json"]
    assert main([*command, "-o", str(files[0]), "-o", str(files[1])]) == 0
    assert all(file.is_file() for file in files)
    assert main([*command, "-o", str(files[0])]) == 1
