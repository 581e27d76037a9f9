"""Imported labels are what training and evaluation read, and predictions of the commands are what tools read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from PIL import Image

from endofm.cli.main import main
from endofm.data.detection.open_set import open_detection_set
from endofm.data.interchange.formats import WRITERS, read_labels
from endofm.data.interchange.imported_set import import_labels
from endofm.data.interchange.media_labels import LabelledMedium, LabelSet, Region, masked_region
from endofm.data.interchange.predictions import read_predictions
from endofm.data.listing import read_clips
from endofm.data.segmentation.mask_reading import read_masks
from endofm.data.segmentation.masked_clips import read_list
from endofm.errors import InputError
from endofm.video.writer import write_video


def disc() -> np.ndarray:
    y, x = np.mgrid[:48, :64]
    return np.asarray(np.hypot(x - 30, y - 20) < 12)


@pytest.fixture
def media(tmp_path: Path) -> Path:
    folder = tmp_path / "media"
    (folder / "deep").mkdir(parents=True)
    noise = np.random.default_rng(0).integers(0, 256, (10, 48, 64, 3), np.uint8)
    for name, picture in (("deep/a.png", noise[0]), ("b.png", noise[1]), ("c.jpg", noise[2])):
        Image.fromarray(picture).save(folder / name)
    write_video(folder / "v.mp4", noise, 10)
    return folder


def labels() -> LabelSet:
    region = masked_region("polyp", disc())
    assert region is not None
    box = Region(label="polyp", box=(-4.0, 5.0, 20.0, 60.0), frame=4, track=7)
    size = {"width": 64, "height": 48}
    return LabelSet(
        (
            LabelledMedium(name="a.png", regions=(region,), **size),
            LabelledMedium(name="b.png", split="val", **size),
            LabelledMedium(name="c.jpg", classes=(("colon", None),), **size),
            LabelledMedium(name="v.mp4", frames=10, regions=(box,), spans=((2, 6, "insertion"),), **size),
        ),
        ("polyp",),
    )


def test_boxes_masks_and_classes_are_read_by_their_readers(media: Path, tmp_path: Path) -> None:
    out = tmp_path / "set"
    report = import_labels(labels(), media, out, every=2, progress=False)
    assert (report.media, report.frames, report.boxes, report.labelled) == (4, 8, 2, 2)
    assert [name for name, _ in report.problems] == ["v.mp4"]
    assert "boxes without masks" in report.problems[0][1]
    boxes = open_detection_set(out, "train")
    by_name = {video.name: video for video in boxes.videos}
    assert by_name["a.png"].frames[0].boxes.tolist() == [[19, 9, 42, 32]]
    assert [frame.number for frame in by_name["v.mp4"].frames] == [1, 3, 5, 7, 9]
    assert by_name["v.mp4"].frames[2].boxes.tolist() == [[0, 5, 20, 48]]
    assert by_name["v.mp4"].fps == 5
    assert len(open_detection_set(out, "val").videos) == 1
    clip = next(one for one in read_list(out / "train.csv", part="train") if one.id == "frames/a.png")
    assert np.array_equal(read_masks(clip, [0], (48, 64), rule="bright", num_classes=2)[0], disc())
    (empty,) = read_list(out / "val.csv", part="val")
    assert not read_masks(empty, [0], (48, 64), rule="bright", num_classes=2).any()
    table = read_clips(out / "labels.csv")
    rows = {(Path(table.path[i]).name, table.classes[table.label[i]], table.start[i], table.end[i]) for i in range(2)}
    assert rows == {("c.jpg", "colon", 0.0, float("inf")), ("v.mp4", "insertion", 0.2, 0.6)}
    assert all(Path(table.path[i]).is_file() for i in range(2))


def test_percentages_are_those_of_the_video(media: Path, tmp_path: Path) -> None:
    box = Region(label="polyp", box=(25.0, 50.0, 50.0, 100.0), frame=0)
    import_labels(
        LabelSet((LabelledMedium(name="v.mp4", frames=10, regions=(box,)),), ("polyp",)),
        media,
        tmp_path / "set",
        progress=False,
    )
    (video,) = open_detection_set(tmp_path / "set", "train").videos
    assert video.frames[0].boxes.tolist() == [[16, 24, 32, 48]]


def test_names_of_others_stay_in_their_folders(media: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes((media / "b.png").read_bytes())
    found = []
    for name in ("../secret.png", "/etc/hostname", "..\\..\\b.png", "x/../../b.png", "missing.png", ""):
        found.append(LabelledMedium(name=name, width=64, height=48))
    report = import_labels(LabelSet(tuple(found), ("polyp",)), media, tmp_path / "set", progress=False)
    assert report.media == 2
    assert len(report.problems) == 4
    files = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.png")}
    assert files == {"secret.png", "media/b.png", "media/deep/a.png", "set/frames/b.png", "set/frames/x/b.png"}


def test_what_was_labelled_at_another_size_is_left_out(media: Path, tmp_path: Path) -> None:
    wrong = LabelSet((LabelledMedium(name="b.png", width=640, height=480),), ("polyp",))
    with pytest.raises(InputError, match="labelled at 640 x 480 pixels and has 64 x 48"):
        import_labels(wrong, media, tmp_path / "set", progress=False)


def test_other_folders_are_never_cleared(media: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    WRITERS["cvat"](labels(), tmp_path / "cvat")
    command = ["data", "import", str(tmp_path / "cvat" / "annotations.xml"), str(media), str(tmp_path / "set")]
    assert main(command) == 0
    assert "3 images and videos, 3 frames" in capsys.readouterr().out
    assert main(command) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert main([*command, "--overwrite"]) == 0
    with (
        patch("endofm.data.interchange.imported_set._copy", side_effect=KeyboardInterrupt),
        pytest.raises(KeyboardInterrupt),
    ):
        import_labels(labels(), media, tmp_path / "part", progress=False)
    assert import_labels(labels(), media, tmp_path / "part", progress=False).media == 4
    assert main([*command[:-1], str(media), "--overwrite"]) == 1
    assert "holds something else" in capsys.readouterr().err
    assert (media / "b.png").is_file()


def test_predictions_of_the_commands_are_exported(media: Path, tmp_path: Path) -> None:
    still, outs = media / "deep" / "a.png", {}
    for command, options in (("detect", ["--min-score", "0.02"]), ("segment", []), ("classify", [])):
        outs[command] = tmp_path / command
        for source in (still, media / "v.mp4"):
            out = outs[command] / f"{source.name}.json"
            assert main([command, str(source), "-o", str(out), "--quiet", *options]) == 0
    files = [outs["detect"] / "a.png.json", outs["segment"] / "a.png.json", outs["classify"] / "a.png.json"]
    found = read_predictions(files)
    (medium,) = found.media
    assert (medium.name, medium.width, medium.height, medium.frames) == ("a.png", 64, 48, None)
    assert found.labels == ("polyp",)
    assert medium.classes[0][0] in ("colon", "larynx", "abdomen")
    for tool in WRITERS:
        target = tmp_path / f"for-{tool}"
        assert main(["data", "export", *map(str, files), str(target), "--to", tool]) == 0
        assert main(["data", "export", *map(str, files), str(target), "--to", tool]) == 1
    read = read_labels(tmp_path / "for-cvat")
    assert len(read.media[0].regions) == len(medium.regions)
    videos = read_predictions([outs["detect"] / "v.mp4.json", outs["classify"] / "v.mp4.json"], min_score=0.03)
    assert videos.media[0].frames == 10
    assert videos.media[0].spans[0][:2] == (0, 10)
    assert all(region.score >= 0.03 for region in videos.media[0].regions)  # type: ignore[operator]
    *_, frames, manifest = WRITERS["fiftyone"](videos, tmp_path / "video")
    assert json.loads(manifest.read_text())["index"] == [{"data": "data/v.mp4", "labels": "labels/v.json"}]
    written: Any = json.loads(frames.read_text())
    objects = [one for frame in written["frames"].values() for one in frame["objects"]["objects"]]
    assert len(objects) == len(videos.media[0].regions)
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(InputError, match=r"other\.json"):
        read_predictions([tmp_path / "other.json"])
