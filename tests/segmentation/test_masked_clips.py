"""Lists of clips with masks, reading them, and every way in which they can be wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from endofm.cli.main import main
from endofm.data.segmentation.mask_reading import (
    constant_frames,
    mask_classes,
    read_frames,
    read_masks,
    require_readable,
)
from endofm.data.segmentation.masked_clips import read_list
from endofm.errors import InputError, VideoError
from endofm.training.config_files import load_config
from endofm.training.finetune.segmentation_config import SegmentationConfig
from endofm.training.finetune.segmentation_recipe import read_subsets
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


def test_masks_that_are_wrong(tmp_path: Path) -> None:
    root = folder_set(tmp_path, clips=3)
    clip = read_list(root, part="train")[0]
    path = root / "masks/2/1.png"

    def problem(mask: np.ndarray) -> str:
        Image.fromarray(mask).save(path)
        with pytest.raises(VideoError) as caught:
            read_masks(clip, [0], SIZE, rule="bright", num_classes=2)
        assert str(path) in str(caught.value)
        return str(caught.value)

    assert "is 64 x 40 pixels, its frame 64 x 48" in problem(np.zeros((40, 64), np.uint8))
    assert "coloured" in problem(np.full((48, 64, 3), (255, 0, 0), np.uint8))
    assert "data.masks=classes" in problem(np.eye(48, 64, dtype=np.uint8))
    path.write_bytes(b"not an image")
    with pytest.raises(InputError, match=r"frames/2: .*masks/2/1.png: this is not an image"):
        require_readable([clip], rule="bright", num_classes=2)


def test_what_values_of_masks_mean() -> None:
    values = np.array([[0, 127, 128, 254, 255]], np.uint8)
    assert mask_classes(values, "mask", rule="bright", num_classes=2).tolist() == [[0, 0, 1, 1, 1]]
    assert mask_classes(values, "mask", rule="white", num_classes=2).tolist() == [[0, 0, 0, 0, 1]]
    numbers = np.array([[0, 2, 1]], np.uint8)
    assert mask_classes(numbers, "mask", rule="classes", num_classes=3).tolist() == [[0, 2, 1]]
    with pytest.raises(VideoError, match=r"mask: this mask holds the value 2, but the classes are 0 to 1"):
        mask_classes(numbers, "mask", rule="classes", num_classes=2)


def test_indexed_images_count_by_number(tmp_path: Path) -> None:
    root = folder_set(tmp_path, clips=3)
    image = Image.fromarray(np.eye(48, 64, dtype=np.uint8))
    image.putpalette([0, 0, 0, 10, 200, 30])
    image.save(root / "masks/2/1.png")
    clip = read_list(root, part="train")[0]
    assert read_masks(clip, [0], SIZE, rule="classes", num_classes=2).sum() == 48


def test_frames_that_are_wrong(tmp_path: Path) -> None:
    root = folder_set(tmp_path, clips=3)
    clip = read_list(root, part="train")[0]
    save_images(root / "frames/2", [np.zeros((40, 64, 3), np.uint8)], first=3)
    with pytest.raises(VideoError, match=r"frames/2/3.png is 64 x 40 pixels, but .*frames/2/1.png is 64 x 48"):
        read_frames(clip, [0, 2])
    (root / "frames/2/2.png").write_bytes(b"")
    with pytest.raises(VideoError, match=r"frames/2/2.png"):
        read_frames(clip, [1])


def test_constant_frames_are_found() -> None:
    frames = disc_clip(0)[0]
    frames[2] = 13
    assert constant_frames(frames) == [2]


def test_a_validation_set_is_held_out_by_patient(tmp_path: Path) -> None:
    root = folder_set(tmp_path, clips=8)
    (root / "val.csv").unlink()

    def config(seed: int) -> SegmentationConfig:
        values = [f"data.train={root}", "data.validation_fraction=0.4", f"run.seed={seed}"]
        return load_config(SegmentationConfig, None, values)

    subsets = read_subsets(config(0))
    groups = [{clip.group for clip in part} for part in (subsets.train, subsets.validation)]
    assert not groups[0] & groups[1]
    assert (len(subsets.train), len(subsets.validation)) == (4, 2)
    assert subsets.test is not None
    assert read_subsets(config(0)) == subsets
    assert any(read_subsets(config(seed)) != subsets for seed in range(1, 6))


def test_overlap_is_refused_or_named(tmp_path: Path) -> None:
    root = folder_set(tmp_path)
    (root / "test.csv").write_text((root / "train.csv").read_text())
    config = load_config(SegmentationConfig, None, [f"data.train={root}"])
    with pytest.raises(InputError, match=r"4 patients or videos are both in the training set and in the test set"):
        read_subsets(config)
    allowed = load_config(SegmentationConfig, None, [f"data.train={root}", "data.allow_overlap=true"])
    assert "say little about new ones" in read_subsets(allowed).notes[0]
