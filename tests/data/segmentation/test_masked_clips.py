"""Lists of clips with masks: every layout that is read, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from endofm.cli.main import main
from endofm.data.segmentation.mask_reading import (
    read_frames,
    read_masks,
    require_readable,
)
from endofm.data.segmentation.masked_clips import read_list
from endofm.errors import InputError
from helpers.masked_sets import clinic_set, disc_clip, folder_set, save_images, video_set

SIZE = (48, 64)


def check_first_clip(clip: object, *, seed: int, lossy: bool = False) -> None:
    pictures, masks = disc_clip(seed, clip.count)
    indices = [clip.count - 1, 0]
    frames = read_frames(clip, indices)
    found = read_masks(clip, indices, SIZE, rule="bright", num_classes=2)
    if lossy:
        assert np.abs(frames.astype(int) - pictures[indices]).mean() < 20
        assert (found != masks[indices] // 255).mean() < 0.01
    else:
        np.testing.assert_array_equal(frames, pictures[indices])
        np.testing.assert_array_equal(found, masks[indices] // 255)


def test_folders_listed_in_a_csv_file(tmp_path: Path) -> None:
    root = folder_set(tmp_path)
    for source in (str(root / "train.csv"), str(root), f"{root}#train"):
        clips = read_list(source, part="train")
        assert [(clip.id, clip.group, clip.count) for clip in clips][:1] == [("frames/2", "patient-2", 6)]
        check_first_clip(clips[0], seed=2)
    assert len(read_list(root, part="val")) == 1
    moved = tmp_path / "lists.csv"
    moved.write_text((root / "train.csv").read_text())
    assert read_list(moved, part="train", root=root)[0].count == 6


def test_numbered_tiff_files_with_the_originals_lists(tmp_path: Path) -> None:
    root = clinic_set(tmp_path)
    for source in (root / "lists/train.txt", root):
        clips = read_list(source, part="train")
        assert [(clip.id, clip.group, clip.count) for clip in clips] == [("1-4", "1-4", 4), ("5-8", "5-8", 4)]
        check_first_clip(clips[0], seed=0)


def test_cvc_clinicdb_as_it_is_downloaded(tmp_path: Path) -> None:
    picture, mask = (array[:1] for array in disc_clip(0))
    for number in range(1, 613):
        save_images(tmp_path / "Original", picture, ".tif", number) if number <= 60 else (
            (tmp_path / f"Original/{number}.tif").hardlink_to(tmp_path / "Original/1.tif")
        )
        save_images(tmp_path / "Ground Truth", mask, ".tif", number) if number <= 60 else (
            (tmp_path / f"Ground Truth/{number}.tif").hardlink_to(tmp_path / "Ground Truth/1.tif")
        )
    assert sum(clip.count for clip in read_list(tmp_path, part="train")) == 401
    assert len(read_list(f"{tmp_path}#train_without_test", part="train")) == 13
    assert sum(clip.count for clip in read_list(tmp_path, part="test")) == 171


def test_videos_with_videos_of_masks(tmp_path: Path) -> None:
    clips = read_list(video_set(tmp_path) / "clips.csv", part="train")
    assert [clip.count for clip in clips] == [6, 6]
    check_first_clip(clips[1], seed=1, lossy=True)


@pytest.mark.parametrize("layout", ["folders", "published"])
def test_rendered_sets(tmp_path: Path, layout: str) -> None:
    out = tmp_path / "polyps"
    command = ["data", "synth", str(out), "--task", "segmentation", "--clips", "5", "--size", "48", "--frames", "3"]
    assert main([*command, "--patients", "5", "--layout", layout, "--workers", "1", "--split", "1,0,0"]) == 0
    clips = read_list(out, part="train")
    assert [clip.count for clip in clips] == [3] * 5
    require_readable(clips, rule="white", num_classes=2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda root: (root / "masks/2/6.png").unlink(), r"train.csv, line 2: .*frames/2 has 6 frames, but .*5 masks"),
        (
            lambda root: (root / "masks/2/6.png").rename(root / "masks/2/7.png"),
            r"frames/2/6.png would be paired with the mask .*masks/2/7.png",
        ),
        (lambda root: [p.unlink() for p in (root / "masks/2").iterdir()], r"no images in the folder .*masks/2"),
        (
            lambda root: (root / "train.csv").write_text("frames,patient\nframes/2,1\n"),
            r"train.csv: the first line must name .* masks is missing",
        ),
        (lambda root: (root / "train.csv").write_text("frames,masks\nframes/9,masks/2\n"), r"line 2: .*frames/9"),
        (lambda root: (root / "train.csv").write_text("frames,masks\nframes/2,\n"), r"line 2: a clip needs both"),
        (lambda root: (root / "train.csv").write_text("frames,masks\n"), r"no clips in this list"),
        (lambda root: (root / "train.csv").unlink(), r"has no list 'train'; it has test, val"),
    ],
)
def test_lists_that_are_wrong(tmp_path: Path, change: object, message: str) -> None:
    root = folder_set(tmp_path, clips=3)
    change(root)
    with pytest.raises(InputError, match=message):
        read_list(root, part="train")


def test_original_lists_that_are_wrong(tmp_path: Path) -> None:
    root = clinic_set(tmp_path)
    (root / "lists/train.txt").write_text("CVC-ClinicVideoDB/indexed 11 9 -1\n")
    with pytest.raises(InputError, match=r"train.txt, line 1: there is no file .*Original/13.tif"):
        read_list(root / "lists/train.txt", part="train")
    (root / "lists/train.txt").write_text("one two\n")
    with pytest.raises(InputError, match=r"line 1: expected `<folder> <first> <number> -1`"):
        read_list(root / "lists/train.txt", part="train")
