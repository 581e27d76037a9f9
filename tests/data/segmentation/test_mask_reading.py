"""Frames and masks of a clip: meaning of mask values, and damaged files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from endofm.data.segmentation.mask_reading import (
    constant_frames,
    mask_classes,
    read_frames,
    read_masks,
    require_readable,
)
from endofm.data.segmentation.masked_clips import read_list
from endofm.errors import InputError, VideoError
from helpers.masked_sets import disc_clip, folder_set, save_images

SIZE = (48, 64)


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
