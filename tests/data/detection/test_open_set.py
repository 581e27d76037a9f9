"""Sets of boxes in the published layout and as COCO, and their faults."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from endofm.data.detection.detection_set import DetectionSet
from endofm.data.detection.open_set import open_detection_set
from endofm.errors import InputError
from endofm.synthetic.rendered_set import write_set
from endofm.synthetic.set_plan import SetSettings
from endofm.synthetic.specs import RenderConfig
from helpers.boxed_sets import coco_of, wandering, write_original

LABELS = ("adenomatous", "hyperplastic")


VIDEOS = {"a": wandering(6), "b": wandering(4, name="hyperplastic", shift=20)}


def read(root: Path, split: str = "train", **options: Any) -> DetectionSet:
    return open_detection_set(root, split, labels=LABELS, progress=False, **options)


def test_both_layouts_give_the_same_set(tmp_path: Path) -> None:
    write_original(tmp_path, VIDEOS)
    lists = read(tmp_path, fps=10)
    coco = open_detection_set(coco_of(tmp_path, VIDEOS))
    assert lists.labels == coco.labels == LABELS
    assert [video.name for video in lists.videos] == [video.name for video in coco.videos] == ["a", "b"]
    assert [video.patient for video in coco.videos] == ["patient a", "patient b"]
    for one, other in zip(lists.videos, coco.videos, strict=True):
        assert one.fps == other.fps == 10
        for x, y in zip(one.frames, other.frames, strict=True):
            assert x.path == y.path
            assert np.array_equal(x.boxes, y.boxes)
            assert np.array_equal(x.labels, y.labels)
    assert lists.num_frames == 10
    assert lists.num_boxes == 4 + 3
    # A folder that has both is read as COCO.
    assert read(tmp_path).videos[0].patient == "patient a"


def test_synthetic_sets_are_read(tmp_path: Path) -> None:
    settings = SetSettings(
        task="detection",
        clips=5,
        patients=5,
        positive=1.0,
        split=(0.6, 0.2, 0.2),
        published_layout=True,
        render=RenderConfig(width=64, height=48, num_frames=2, seed=3),
    )
    write_set(tmp_path / "set", settings, workers=1)
    from_coco = read(tmp_path / "set")
    (tmp_path / "set" / "annotations").rename(tmp_path / "elsewhere")
    from_lists = read(tmp_path / "set", fps=10)
    assert from_coco.num_frames == from_lists.num_frames == 6
    for one, other in zip(from_coco.videos, from_lists.videos, strict=True):
        assert one.name == other.name
        for x, y in zip(one.frames, other.frames, strict=True):
            np.testing.assert_allclose(x.boxes, y.boxes)


LIST_FAULTS: list[tuple[str, Callable[[list[str]], list[str]], str]] = [
    ("empty", lambda lines: [], "the list is empty"),
    (
        "mixed",
        lambda lines: [*lines[:6], "b 0 1 4", "a 0 7 7", *lines[7:]],
        r":7: b ends with frame 1|:8: frame 7 of a",
    ),
    ("again", lambda lines: [*lines, "a 0 1 6"], r"train\.txt:11: frame 1 of a comes after frames of another video"),
    ("gap", lambda lines: [*lines[:2], *lines[3:]], r"train\.txt:3: frame 4 of a follows frame 2"),
    ("begin", lambda lines: lines[1:], r"train\.txt:1: a begins with frame 2"),
    ("short", lambda lines: lines[:-1], r"train\.txt:9: b ends with frame 3, but 4 are stated"),
    (
        "count",
        lambda lines: [*lines[:1], "a 0 2 9", *lines[2:]],
        r"train\.txt:2: this line states 9 frames for a, the lines above 6",
    ),
    ("words", lambda lines: ["a one two", *lines], r"train\.txt:1: expected `video mark frame frames`"),
]


@pytest.mark.parametrize(("name", "spoil", "message"), LIST_FAULTS, ids=[fault[0] for fault in LIST_FAULTS])
def test_faulty_lists_are_named_with_their_line(
    name: str, spoil: Callable[[list[str]], list[str]], message: str, tmp_path: Path
) -> None:
    listing = write_original(tmp_path, VIDEOS)
    listing.write_text("\n".join(spoil(listing.read_text().splitlines())))
    with pytest.raises(InputError, match=message):
        read(tmp_path)


def test_missing_and_damaged_frames_are_named_with_the_line_of_the_list(tmp_path: Path) -> None:
    write_original(tmp_path, VIDEOS)
    image = tmp_path / "train2019/Image/a/3.jpg"
    data = image.read_bytes()
    image.unlink()
    with pytest.raises(InputError, match=r"train\.txt:3: there is no image .*a/3\.jpg"):
        read(tmp_path)
    image.write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"train\.txt:3: .*3\.jpg"):
        read(tmp_path)
    image.write_bytes(data)
    (tmp_path / "train2019/Annotation/b/2.xml").unlink()
    with pytest.raises(InputError, match=r"train\.txt:8: there is no annotation .*b/2\.xml"):
        read(tmp_path)
    with pytest.raises(InputError, match=r"val\.txt: there is no such list; available: train"):
        read(tmp_path, "val")


def spoil_xml(root: Path, old: str, new: str) -> None:
    path = root / "train2019/Annotation/a/2.xml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("adenomatous", "unicorn", r"2\.xml:5: unknown class 'unicorn'; the classes are adenomatous, hyperplastic"),
        ("<xmax>42.0", "<xmax>150.0", r"2\.xml:5: .* lies 54 pixels outside of the 96 x 72 image.*clip_boxes"),
        ("<xmin>12.0", "<xmin>-5.0", r"2\.xml:5: .* lies 5 pixels outside"),
        ("<xmax>42.0", "<xmax>12.0", r"2\.xml:5: .* has no area"),
        ("<ymin>13.0</ymin>", "", r"2\.xml:5: an object 'adenomatous' has no box of four numbers"),
        ("<object>", "<object", r"2\.xml: not an XML file"),
    ],
)
def test_faulty_annotations_are_named_with_file_and_line(old: str, new: str, message: str, tmp_path: Path) -> None:
    write_original(tmp_path, VIDEOS)
    spoil_xml(tmp_path, old, new)
    with pytest.raises(InputError, match=message):
        read(tmp_path)


def test_boxes_are_cut_at_the_rim_if_asked_for_and_that_is_told(tmp_path: Path) -> None:
    write_original(tmp_path, VIDEOS)
    spoil_xml(tmp_path, "<xmax>42.0", "<xmax>150.0")
    found = read(tmp_path, clip=True)
    assert found.videos[0].frames[1].boxes.tolist() == [[12, 13, 96, 45]]
    assert len(found.notes) == 1
    assert "2.xml:5" in found.notes[0]
    assert "was clipped to the image" in found.notes[0]


COCO_FAULTS: list[tuple[str, Callable[[dict[str, Any]], None], str]] = [
    ("empty", lambda v: v["images"].clear(), "the list of images is empty"),
    (
        "class",
        lambda v: v["categories"].append({"id": 3, "name": "x"}) or v["annotations"][0].update(category_id=3),
        "unknown class 'x'",
    ),
    (
        "category",
        lambda v: v["annotations"][0].update(category_id=9),
        "annotation 1: there is no category with the id 9",
    ),
    ("image", lambda v: v["annotations"][1].update(image_id=99), "annotation 2: there is no image with the id 99"),
    ("box", lambda v: v["annotations"][2].update(bbox=[1, 2, 3]), "annotation 3: bbox must be"),
    ("outside", lambda v: v["annotations"][2].update(bbox=[50, 2, 90, 5]), "annotation 3: .* lies 44 pixels outside"),
    ("file", lambda v: v["images"][4].update(file_name="none.jpg"), "image 5: there is no file .*none.jpg"),
    ("mixed", lambda v: v["images"].append({**v["images"][0], "id": 77, "frame_id": 99}), "image 77: .*mixes videos"),
    ("order", lambda v: v["images"][2].update(frame_id=1), "image 3: frame 1 of video 1 comes after frame 2"),
    ("twice", lambda v: v["images"][2].update(id=1), "two images have the id 1"),
    ("video", lambda v: v["videos"].pop(), "there is no video with the id 2"),
    (
        "file twice",
        lambda v: v["images"][2].update(file_name="./" + v["images"][1]["file_name"]),
        "two images are the file",
    ),
    ("two categories", lambda v: v["categories"].append({"id": 1, "name": "x"}), "two categories have the id 1"),
    ("list as id", lambda v: v["images"][0].update(id=[1]), r"images\[0\]: id must be a number or a string"),
    ("size", lambda v: v["images"][0].update(width="wide"), "width must be an integer, got 'wide'"),
    ("rate", lambda v: v["videos"][0].update(fps="fast"), "fps of video a must be a number > 0"),
    ("key", lambda v: v["images"][0].pop("width"), r"images\[0\] has no 'width'"),
]


@pytest.mark.parametrize(("name", "spoil", "message"), COCO_FAULTS, ids=[fault[0] for fault in COCO_FAULTS])
def test_faulty_coco_files_are_named_with_the_entry(
    name: str, spoil: Callable[[dict[str, Any]], None], message: str, tmp_path: Path
) -> None:
    write_original(tmp_path, VIDEOS)
    path = coco_of(tmp_path, VIDEOS)
    values = json.loads(path.read_text())
    spoil(values)
    path.write_text(json.dumps(values))
    with pytest.raises(InputError, match=message) as caught:
        open_detection_set(path, labels=LABELS)
    assert "train.json" in str(caught.value)


def test_regions_copies_and_equal_names_are_told(tmp_path: Path) -> None:
    write_original(tmp_path, VIDEOS)
    path = coco_of(tmp_path, VIDEOS)
    values = json.loads(path.read_text())
    first = values["annotations"][0]
    for number, extra in enumerate(({"iscrowd": 1}, {"ignore": True}, {"iscrowd": 0}), start=100):
        values["annotations"].append({**first, "id": number, "bbox": [number - 90, 50, 30, 20], **extra})
    values["annotations"].append({**first, "id": 200})
    values["categories"].append({"id": 9, "name": "adenomatous"})
    values["annotations"][1]["category_id"] = 9
    path.write_text("\ufeff" + json.dumps(values), encoding="utf-8")
    found = open_detection_set(path)
    assert found.labels == LABELS
    frame = found.videos[0].frames[0]
    assert (len(frame.boxes), len(frame.ignored), found.num_boxes) == (2, 2, 8)
    assert frame.ignored.tolist() == [[10, 50, 40, 70], [11, 50, 41, 70]]
    notes = " ".join(found.notes)
    assert "2 regions are marked iscrowd or ignore" in notes
    assert "1 annotations are listed twice" in notes
    assert "2 categories are called 'adenomatous'" in notes


def test_patients_of_videos_and_stills_by_their_usual_names(tmp_path: Path) -> None:
    write_original(tmp_path, VIDEOS)
    path = coco_of(tmp_path, VIDEOS)
    values = json.loads(path.read_text())
    for video in values["videos"]:
        video["Patient ID"] = video.pop("patient")
    path.write_text(json.dumps(values))
    assert [video.patient for video in open_detection_set(path).videos] == ["patient a", "patient b"]
    for image in values["images"]:
        image["case"] = f"case {image.pop('video_id')}"
    del values["videos"]
    path.write_text(json.dumps(values))
    assert {video.patient for video in open_detection_set(path).videos} == {"case 1", "case 2"}


@pytest.mark.parametrize("coco", [False, True])
def test_missing_images_are_left_out_if_asked_for(coco: bool, tmp_path: Path) -> None:
    write_original(tmp_path, VIDEOS)
    if coco:
        coco_of(tmp_path, VIDEOS)
    (tmp_path / "train2019/Image/a/3.jpg").unlink()
    found = read(tmp_path, allow_missing=True)
    assert found.num_frames == 9
    assert "1 of 10 images of train" in found.notes[0]


def test_what_is_no_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        read(tmp_path / "none")
    with pytest.raises(InputError, match="expected ImageSets/train.txt"):
        read(tmp_path)
    write_original(tmp_path, VIDEOS)
    with pytest.raises(InputError, match="name a subset"):
        read(tmp_path, "")
    with pytest.raises(InputError, match="does not list its classes"):
        open_detection_set(tmp_path, "train")
    (tmp_path / "x.json").write_text("[]")
    with pytest.raises(InputError, match="not COCO JSON"):
        open_detection_set(tmp_path / "x.json")
