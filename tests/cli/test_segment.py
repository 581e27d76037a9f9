"""``endofm segment``: one video, a folder, precision."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from endofm import EndoFMForSegmentation, VideoMasks
from endofm.cli.main import main
from endofm.disclaimer import DISCLAIMER
from endofm.video.open import open_video
from endofm.video.writer import write_video
from helpers.small_segmenter import SIDE, small_segmenter


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_segmenter().save_pretrained(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("videos") / "clip.mp4"
    noise = np.random.default_rng(0).integers(0, 256, (11, 6, 8, 3), dtype=np.uint8)
    write_video(path, noise.repeat(12, 1).repeat(12, 2), 10)
    return path


def test_command_line_on_one_video(
    weights: Path, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = ["segment", str(clip), "--weights", str(weights), "--quiet", "-o"]
    assert main([*base, str(tmp_path / "overlay.mp4"), "--num-frames", "3", "--overlap", "1"]) == 0
    assert main([*base, str(tmp_path / "masks.json"), "--frame-stride", "2"]) == 0
    assert main([*base, str(tmp_path / "clip.masks")]) == 0
    with open_video(tmp_path / "overlay.mp4") as painted, open_video(clip) as source:
        np.testing.assert_allclose(painted.frame_times(), source.frame_times())
    assert len(VideoMasks.load(tmp_path / "masks.json")) == 6
    assert len(list((tmp_path / "clip.masks").glob("*.png"))) == 11
    assert main([*base, str(tmp_path / "masks.json")]) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert main([*base, str(tmp_path / "masks.json"), "--overwrite"]) == 0
    assert main([*base, str(tmp_path / "masks.zip")]) == 1
    assert ".json, .masks, .mp4, .png, or into a folder" in capsys.readouterr().err
    assert main(["segment", str(clip), "--weights", str(tmp_path / "none"), "-o", str(tmp_path / "x.mp4")]) == 1
    assert main(["segment", str(tmp_path / "none.mp4"), "--weights", str(weights), "-o", str(tmp_path / "x.mp4")]) == 1
    assert "there is no such file" in capsys.readouterr().err
    assert not (tmp_path / "x.mp4").exists()


def test_command_line_on_a_folder(
    weights: Path, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    videos, out = tmp_path / "videos", tmp_path / "out"
    videos.mkdir()
    shutil.copy(clip, videos / "one.mp4")
    (videos / "broken.mp4").write_bytes(b"no video")
    command = ["segment", str(videos), "--weights", str(weights), "-o", str(out), "--format", "png", "--paint"]
    assert main([*command, "--overlap", "99"]) == 1
    assert "overlap must be" in capsys.readouterr().err
    assert not out.exists()  # options are checked before anything is written
    assert main(command) == 1
    printed = capsys.readouterr()
    assert "broken.mp4" in printed.err
    assert "1 of 2 videos" in printed.out
    assert DISCLAIMER in printed.out
    assert len(list((out / "one.mp4.masks").glob("*.png"))) == 11
    assert (out / "one.mp4.overlay.mp4").is_file()
    rows = {row["source"]: row for row in json.loads((out / "manifest.json").read_text())["videos"]}
    assert rows[str(videos / "one.mp4")]["frames"] == 11
    assert set(rows[str(videos / "one.mp4")]["frames_by_label"]) == {"polyp"}
    changed = (out / "one.mp4.masks" / "frames.csv").stat().st_mtime_ns
    (videos / "broken.mp4").unlink()
    assert main(command) == 0
    assert "(1 of them done before)" in capsys.readouterr().out
    assert (out / "one.mp4.masks" / "frames.csv").stat().st_mtime_ns == changed
    assert main([*command, "--frame-stride", "2"]) == 1
    assert "frame_stride was 1 and is now 2" in capsys.readouterr().err
    assert main([*command, "--frame-stride", "2", "--overwrite", "--quiet"]) == 0
    assert len(list((out / "one.mp4.masks").glob("*.png"))) == 6


def test_a_still_image(weights: Path, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    still = tmp_path / "still.jpg"
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (48, 64, 3), dtype=np.uint8)).save(still)
    out = [tmp_path / "overlay.png", tmp_path / "masks.json"]
    assert main(["segment", str(still), "--weights", str(weights), "-o", str(out[0]), "-o", str(out[1])]) == 0
    assert "1 frame (" in capsys.readouterr().out
    with Image.open(out[0]) as painted:
        assert painted.size == (64, 48)
    assert len(VideoMasks.load(out[1])) == 1
    # Before the video is segmented in vain.
    assert main(["segment", str(clip), "--weights", "nowhere/", "-o", str(tmp_path / "x.png")]) == 1
    assert "a .png holds one picture" in capsys.readouterr().err


def test_precision_on_the_command_line(
    weights: Path, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = {}
    for precision in ("exact", "bfloat16", "auto"):
        out = tmp_path / f"{precision}.json"
        argv = ["segment", str(clip), "--weights", str(weights), "-o", str(out), "--precision", precision]
        assert main(argv) == 0
        assert ("precision: exact (chosen for cpu)" in capsys.readouterr().err) == (precision == "auto")
        found[precision] = VideoMasks.load(out)
    assert [masks.provenance["precision"] for masks in found.values()] == ["exact", "bfloat16", "exact"]
    exact, fast, auto = (masks.to_array() for masks in found.values())
    np.testing.assert_array_equal(exact, auto)
    assert (exact == fast).mean() > 0.99
    model = EndoFMForSegmentation.from_pretrained(weights, precision="bfloat16")
    clips = torch.randn(1, 3, 3, SIDE, SIDE)
    with torch.no_grad():  # Masks may be the same to the pixel; what decides on them is not.
        assert not torch.equal(model(clips), EndoFMForSegmentation.from_pretrained(weights)(clips))
    np.testing.assert_array_equal(model.predict(clip, progress=False).to_array(), fast)
    with pytest.raises(SystemExit, match="2"):
        main([*argv[:-1], "float8"])


@pytest.mark.media
def test_painting_over_a_real_clip(weights: Path, media_dir: Path, tmp_path: Path) -> None:
    source = media_dir / "videos" / "phantom_bowel_robot.avi"
    base = ["segment", str(source), "--weights", str(weights), "--quiet"]
    assert main([*base, "-o", str(tmp_path / "overlay.mp4"), "--frame-stride", "5"]) == 0
    with open_video(tmp_path / "overlay.mp4") as painted, open_video(source) as video:
        assert painted.metadata.width == video.metadata.width
        np.testing.assert_allclose(painted.frame_times(), video.frame_times(), rtol=0, atol=1e-6)
