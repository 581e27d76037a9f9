"""Prepared sets of stills: what the files show, and that the readers of the package accept them."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from endofm.data.check import check
from endofm.data.detection.open_set import open_detection_set
from endofm.data.listing import read_clips
from endofm.data.manifest import read_manifest
from endofm.data.prepare.clip_format import ClipFormat
from endofm.data.prepare.preparation import prepare
from endofm.data.prepare.stills import StillsSettings, stills_recipe
from endofm.data.segmentation.masked_clips import read_list
from endofm.data.stills.virtual_camera import KIND, CameraDraw, camera_paths
from endofm.errors import JobError
from helpers.dotted_stills import disc_centre
from helpers.made_stills import SIZE, write_classes, write_coco, write_masked, write_voc

FORMAT = ClipFormat(clip_frames=4, short_side=64)


def prepared(source: Path, out: Path, **settings: object) -> None:
    prepare(stills_recipe(StillsSettings(**settings)), source, out, clip_format=FORMAT, jobs=1, progress=False)


def picture(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def test_masks_and_boxes_follow_the_pixels(tmp_path: Path) -> None:
    source, out = write_masked(tmp_path / "set"), tmp_path / "out"
    (source / "splits.csv").write_text(
        "image,split,group\n" + "".join(f"{n}.png,{'val' if n > 4 else 'train'},g{n}\n" for n in range(1, 7))
    )
    prepared(source, out, clips_per_still=2)
    rows = read_manifest(out / "manifest.csv")
    assert len(rows) == 12
    assert {row.num_frames for row in rows} == {4}
    videos = {
        video.name: video
        for split in ("train", "val")
        for video in open_detection_set(out, split, progress=False).videos
    }
    compared = 0
    for row in rows:
        # The record says what the clip is, and its parameters make the same path again.
        assert json.loads(row.virtual_camera)["kind"] == KIND
        draw = CameraDraw.from_description(row.virtual_camera)
        matrices = camera_paths([draw], [SIZE], num_frames=4, frame=(64, 64)).matrices[0]
        centre = np.array([45.0, 38.0]) + (int(Path(row.source).stem) - 1) * np.array([6, 4])
        for number in range(1, 5):
            expected = np.linalg.solve(matrices[number - 1, :, :2], centre - matrices[number - 1, :, 2])
            mask = picture(out / row.path.replace("frames/", "masks/") / f"{number}.png")
            if expected.min() < 16 or expected.max() > 48:
                continue
            compared += 1
            frame = picture(out / row.path / f"{number}.jpg")[..., 0]
            assert np.abs(disc_centre(frame, above=140) - expected).max() < 0.5
            assert np.abs(disc_centre(mask, above=127) - expected).max() < 0.5
            (box,) = videos[row.path].frames[number - 1].boxes
            assert np.abs(box.reshape(2, 2).mean(0) - expected).max() < 0.75
    assert compared > 10
    # Groups are carried to every list that a split is drawn from.
    assert {clip.group for clip in read_list(out, part="val")} == {"g5", "g6"}
    assert {video.patient for video in open_detection_set(out, "val", progress=False).videos} == {"g5", "g6"}
    assert read_clips(out).patient[0] == "g1"
    assert set(check(out, jobs=1, progress=False).counts()) <= {"near-duplicate"}


@pytest.mark.parametrize("write", [write_coco, write_voc])
def test_stills_with_boxes_are_not_turned(tmp_path: Path, write) -> None:
    prepared(write(tmp_path / "set"), tmp_path / "out")
    train = open_detection_set(tmp_path / "out", "train", progress=False)
    assert train.labels == ("disc",)
    compared = 0
    for video in train.videos:
        for frame in video.frames:
            seen = np.nonzero(picture(frame.path)[..., 0] > 140)
            edges = np.array([seen[1].min(), seen[0].min(), seen[1].max() + 1, seen[0].max() + 1])
            if edges[:2].min() > 0 and edges[2:].max() < 64:
                compared += 1
                assert np.abs(frame.boxes[0] - edges).max() <= 1
                assert np.abs((frame.boxes[0] - edges).reshape(2, 2).mean(0)).max() <= 0.5
    assert compared > 6


def test_classes_are_labels(tmp_path: Path) -> None:
    prepared(write_classes(tmp_path / "set"), tmp_path / "out")
    table = read_clips(tmp_path / "out")
    assert table.classes == ("left", "right")
    assert {table.split[row] for row in range(len(table))} == {"train", "val"}
    assert not (tmp_path / "out" / "annotations").exists()


def test_an_interrupted_preparation_is_resumed_and_other_paths_are_refused(tmp_path: Path) -> None:
    source, out = write_masked(tmp_path / "set"), tmp_path / "out"
    prepare(stills_recipe(), source, out, clip_format=FORMAT, jobs=1, limit=2, progress=False)
    first = {path: path.stat().st_mtime_ns for path in out.glob("frames/**/*.jpg")}
    assert len(first) == 8
    prepared(source, out)
    assert all(path.stat().st_mtime_ns == time for path, time in first.items())
    prepared(source, tmp_path / "fresh")
    for file in ("manifest.csv", "train.csv", "annotations/train.json"):
        assert (out / file).read_bytes() == (tmp_path / "fresh" / file).read_bytes()
    with pytest.raises(JobError, match="seed"):
        prepared(source, out, seed=1)
    # A mask that is drawn again changes its clip.
    mask = picture(source / "masks" / "1.png")
    Image.fromarray(np.roll(mask, 9, axis=1)).save(source / "masks" / "1.png")
    before = (out / "masks/images/1/1.png").read_bytes()
    prepared(source, out)
    assert (out / "masks/images/1/1.png").read_bytes() != before


def test_damaged_stills_are_named(tmp_path: Path) -> None:
    source = write_masked(tmp_path / "set")
    (source / "images" / "2.png").write_bytes(b"not an image")
    Image.fromarray(np.zeros((5, 5), np.uint8)).save(source / "masks" / "3.png")
    report = prepare(stills_recipe(), source, tmp_path / "out", clip_format=FORMAT, jobs=1, progress=False)
    problems = dict(report.problems)
    assert report.clips == 4
    assert "not an image" in problems["images/2.png"]
    assert "its mask is 5 x 5 pixels, not 120 x 90" in problems["images/3.png"]


def test_command(tmp_path: Path) -> None:
    source = write_masked(tmp_path / "set")
    command = [sys.executable, "-m", "endofm", "data", "prepare"]
    shown = subprocess.run(
        [*command, "stills", str(source), str(tmp_path / "out"), "--dry-run"], capture_output=True, text=True
    )
    assert shown.returncode == 0
    assert shown.stdout.splitlines()[0].startswith("images/1.png\timages/1.png")
    assert not (tmp_path / "out").exists()
    refused = subprocess.run(
        [*command, "folder", str(source), str(tmp_path / "out"), "--rotation", "3"], capture_output=True, text=True
    )
    assert refused.returncode == 1
    assert "--rotation: only `endofm data prepare stills` has a virtual camera" in refused.stderr
    size = ["--clip-frames", "2", "--short-side", "32", "--limit", "1", "--jobs", "1"]
    options = [*size, "--zoom", "0.5", "0.9", "--rotation", "0"]
    made = subprocess.run(
        [*command, "stills", str(source), str(tmp_path / "out"), *options], capture_output=True, text=True
    )
    assert made.returncode == 0, made.stderr
    (row,) = read_manifest(tmp_path / "out" / "manifest.csv")
    assert (row.num_frames, row.width, row.height) == (2, 32, 32)
    poses = CameraDraw.from_description(row.virtual_camera).poses
    assert (poses[:, 3] == 0).all()
    assert 0.5 <= poses[:, 2].min() <= poses[:, 2].max() <= 0.9
