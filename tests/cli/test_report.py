"""``endofm report``: folders with damaged videos, resumption, saved features and saved predictions."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from endofm import demo_video
from endofm.cli.main import main
from endofm.output_place import place_of
from helpers.stored_copy import stored_copy

# Few clips, so that a report takes two seconds.
WINDOWS = ["--window-seconds", "2"]


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    folder = tmp_path / "videos"
    (folder / "a b").mkdir(parents=True)
    shutil.copy(demo_video(), folder / "one.mp4")
    shutil.copy(demo_video(), folder / "a b" / "two#.mp4")
    (folder / "broken.mp4").write_bytes(b"no video")
    return folder


def rows_of(folder: Path) -> dict[str, dict[str, object]]:
    rows = json.loads((folder / "manifest.json").read_text())["videos"]
    return {row["output"]: row for row in rows}


def test_a_folder(videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "reports"
    command = ["report", str(videos), "-o", str(out), *WINDOWS]
    assert main([*command, "--hop-seconds", "-1"]) == 1
    assert main([*command, "--detect", "no-such-weights"]) == 1
    assert not out.exists()  # options and weights are checked before anything is written
    capsys.readouterr()
    assert main(command) == 1
    printed = capsys.readouterr()
    assert "failed:" in printed.err
    assert "2 of 3 videos" in printed.out
    assert "medical advice" in printed.out
    page = (out / "a b" / "two#.mp4.report.html").read_text()
    assert len(page) < 3_000_000
    assert 'href="./../../videos/a%20b/two%23.mp4#t=' in page
    assert 'href="../index.html"' in page
    index = (out / "index.html").read_text()
    assert 'href="./a%20b/two%23.mp4.report.html"' in index
    assert "broken.mp4: not a video" in index
    rows = rows_of(out)
    assert rows["one.mp4.report.html"]["clips"] == 10
    assert rows["one.mp4.report.html"]["seconds"] == pytest.approx(19.8)
    # Rerun: finished reports are kept, failed videos are retried, and the index lists both.
    before = (out / "one.mp4.report.html").stat().st_mtime_ns
    shutil.copy(demo_video(), videos / "broken.mp4")
    assert main(command) == 0
    assert "(2 of them done before)" in capsys.readouterr().out
    assert (out / "one.mp4.report.html").stat().st_mtime_ns == before
    assert "broken.mp4: not a video" not in (out / "index.html").read_text()
    # One video of them keeps the others in the page of all.
    assert main(["report", str(videos / "one.mp4"), "-o", str(out), *WINDOWS, "--quiet"]) == 0
    assert "two%23" in (out / "index.html").read_text()
    assert main([*command, "--no-links"]) == 1  # another setting
    assert "--overwrite" in capsys.readouterr().err
    assert main([*command, "--no-links", "--overwrite", "--quiet"]) == 0
    assert "#t=" not in (out / "one.mp4.report.html").read_text()


def test_saved_features_and_predictions(videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    video = str(videos / "one.mp4")
    one = ["--quiet", "--window-seconds", "2"]
    folders = {name: str(tmp_path / name) for name in ("features", "classes", "boxes", "masks")}
    assert main(["extract", video, "-o", folders["features"], "--weights", "endofm-nano-4x96", *one]) == 0
    assert main(["classify", video, "-o", folders["classes"], *one]) == 0
    for name, command in (("boxes", "detect"), ("masks", "segment")):
        assert main([command, video, "-o", folders[name], "--quiet", "--frame-stride", "10"]) == 0
    out = tmp_path / "reports"
    tasks = ["--classify", folders["classes"], "--detect", folders["boxes"], "--segment", folders["masks"]]
    assert main(["report", folders["features"], "-o", str(out), *tasks]) == 0
    page = (out / "one.mp4.report.html").read_text()
    headings = re.findall(r"<h2[^>]*>([^<]*)</h2>", page)
    assert headings[3:6] == ["Classification", "Segmentation", "Detection"]
    assert "The encoder&#39;s view" in page or "The encoder's view" in page
    assert 'href="./../videos/one.mp4#t=' in page
    said = json.loads((tmp_path / "classes" / "one.mp4.json").read_text())["video"]["predicted"]
    assert said[0] in str(rows_of(out)["one.mp4.report.html"]["results"])
    # A feature file alone, away from its video: charts without pictures; next to it: with pictures.
    capsys.readouterr()
    alone = tmp_path / "alone"
    alone.mkdir()
    file = Path(shutil.copy(tmp_path / "features" / "one.mp4.safetensors", alone))
    assert main(["report", str(file), "-o", str(tmp_path / "bare"), "--quiet"]) == 0
    assert "this report has no pictures" in (tmp_path / "bare" / "one.mp4.report.html").read_text()
    shutil.copy(video, alone)
    assert main(["report", str(file), "-o", str(tmp_path / "full"), "--quiet"]) == 0
    assert 'href="./../alone/one.mp4#t=' in (tmp_path / "full" / "one.mp4.report.html").read_text()
    # Results of other kinds, and one video in two forms.
    assert main(["report", folders["boxes"], "-o", str(tmp_path / "x")]) == 1
    assert "holds no features" in capsys.readouterr().err
    assert main(["report", str(alone / "one.mp4"), str(file), "-o", str(tmp_path / "x")]) == 1
    assert "named twice" in capsys.readouterr().err


def test_a_name_in_a_feature_file_leads_nowhere_else(tmp_path: Path) -> None:
    from endofm.report.saved_results import video_of
    from helpers.made_features import made_features

    (tmp_path / "secret.mp4").touch()
    (tmp_path / "features").mkdir()
    features = made_features(2, provenance={"video": {"name": "../secret.mp4"}})
    assert video_of(tmp_path / "features" / "a.npz", features, {}) is None
    assert video_of(tmp_path / "a.npz", features, {}) == tmp_path / "secret.mp4"
    assert video_of(tmp_path / "a.npz", made_features(2), {}) is None


def test_processes_and_stills(videos: Path, tmp_path: Path) -> None:
    from endofm import open_video

    with open_video(demo_video()) as source:
        from PIL import Image

        Image.fromarray(next(iter(source)).data).save(videos / "still.png")
    (videos / "broken.mp4").unlink()
    out = tmp_path / "reports"
    inputs = [str(videos / "still.png"), str(videos / "one.mp4")]
    assert main(["report", *inputs, "-o", str(out), "--jobs", "2", "--quiet"]) == 0
    page = (out / "still.png.report.html").read_text()
    assert "still.png" in page
    assert (out / "one.mp4.report.html").stat().st_size > 900_000


def test_videos_and_pages_in_a_store(videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(videos / "a b")
    (videos / "broken.mp4").unlink()
    address = stored_copy(videos)
    place = place_of(f"{address}-out")
    command = ["report", address, "-o", str(place), *WINDOWS]
    assert main(command) == 0
    page = place.read("one.mp4.report.html").decode()
    assert "Times are not linked to the video" in page
    assert "#t=" not in page
    assert 'href="memory' not in page
    index = place.read("index.html").decode()
    assert 'href="./one.mp4.report.html"' in index
    assert "data:image/webp" in index
    capsys.readouterr()
    assert main(command) == 0
    assert "(1 of them done before)" in capsys.readouterr().out
    # Saved features and classifications in a store, and their video, which the manifest names.
    features, classes = f"{address}-features", f"{address}-classes"
    assert main(["extract", address, "-o", features, "--weights", "endofm-nano-4x96", *WINDOWS]) == 0
    assert main(["classify", address, "-o", classes, *WINDOWS]) == 0
    assert main(["report", features, "-o", str(tmp_path / "reports"), "--classify", classes]) == 0
    page = (tmp_path / "reports" / "one.mp4.report.html").read_text()
    assert "Times are not linked to the video" in page
    assert "data:image/webp" in page
    assert rows_of(tmp_path / "reports")["one.mp4.report.html"]["results"]
