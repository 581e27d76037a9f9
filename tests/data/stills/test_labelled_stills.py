from pathlib import Path

import numpy as np
import pytest

from endofm.data.stills.labelled_stills import boxed_stills, masked_stills
from endofm.errors import InputError
from helpers.made_stills import CENTRES, write_classes, write_coco, write_masked


def test_stills_with_masks_are_clips_of_one_frame(tmp_path: Path) -> None:
    root = write_masked(tmp_path)
    (root / "splits.csv").write_text("image,split,group\n1.png,val,a\n2.png,train,b\n")
    train, val = (masked_stills([str(root)], part) for part in ("train", "val"))
    assert [(clip.group, clip.count) for clip in val] == [("a", 1)]
    assert val[0].masks == (root / "masks/1.png",)
    assert [clip.group for clip in train] == ["b", *(f"images/{n}.png" for n in range(3, 7))]
    assert len(masked_stills([str(root)], None)) == 6
    with pytest.raises(InputError, match="has no mask"):
        masked_stills([str(write_classes(tmp_path / "classes"))], "train")


def test_boxes_are_given_or_follow_from_masks(tmp_path: Path) -> None:
    given = boxed_stills(str(write_coco(tmp_path / "coco")), "train")
    followed = boxed_stills(str(write_masked(tmp_path / "masks")), "train")
    assert (given.labels, followed.labels) == (("disc",), ("polyp",))
    assert (len(given), len(followed)) == (4, 6)
    for data in (given, followed):
        for video, centre in zip(data.videos, CENTRES, strict=False):
            (box,) = video.frames[0].boxes
            assert np.abs(box.reshape(2, 2).mean(0) - centre).max() <= 0.5
    assert boxed_stills(str(tmp_path / "masks"), "train", ["lesion"]).labels == ("lesion",)
    with pytest.raises(InputError, match="no stills of the subset 'test'"):
        boxed_stills(str(tmp_path / "coco"), "test")
    with pytest.raises(InputError, match="neither boxes nor a mask"):
        boxed_stills(str(write_classes(tmp_path / "classes")), "train")


def test_images_without_annotations_are_refused_or_noted(tmp_path: Path) -> None:
    root = write_masked(tmp_path)
    (root / "masks/2.png").unlink()
    with pytest.raises(InputError, match=r"1 images are left out: images/2\.png has no mask in masks"):
        masked_stills([str(root)], "train")
    notes: list[str] = []
    assert len(masked_stills([str(root)], "train", left_out=notes)) == 5
    assert len(notes) == 1
    with pytest.raises(InputError, match=r"data\.allow_missing=true"):
        boxed_stills(str(root), "train")
    assert len(boxed_stills(str(root), "train", allow_missing=True).notes) == 1
