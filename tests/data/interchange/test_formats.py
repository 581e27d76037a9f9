"""Labels in the formats of other tools: written and read back, and as the tools write them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from endofm.data.interchange.formats import READERS, WRITERS, read_labels
from endofm.data.interchange.media_labels import LabelledMedium, LabelSet, Region, masked_region
from endofm.errors import InputError


def disc(height: int = 48, width: int = 64, *, hole: bool = False) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    distance = np.hypot(x - 30, y - 20)
    return (distance < 12) & ~((distance < 4) & hole)


def masked(label: str, mask: np.ndarray, **more: object) -> Region:
    region = masked_region(label, mask, **more)  # type: ignore[arg-type]
    assert region is not None
    return region


BOX = Region(label="polyp", box=(3.25, 4.5, 20.75, 30.5), score=0.75)
IMAGES = LabelSet(
    (
        LabelledMedium(
            name="p1/a b.png", width=64, height=48, regions=(BOX, masked("tool", disc(hole=True), score=0.5))
        ),
        LabelledMedium(name="empty.png", width=64, height=48),
        LabelledMedium(name="colon.png", width=64, height=48, classes=(("colon", 0.9),)),
    ),
    ("polyp", "tool"),
)
VIDEO = LabelSet(
    (
        LabelledMedium(
            name="v.mp4",
            width=64,
            height=48,
            frames=9,
            regions=(*(replace(BOX, frame=at, track=4) for at in (1, 2, 6)), replace(BOX, frame=3, label="tool")),
        ),
    ),
    ("polyp", "tool"),
)


def regions(labels: LabelSet, name: str) -> list[tuple[object, ...]]:
    (medium,) = (one for one in labels.media if Path(one.name).name == Path(name).name)
    rows = [(r.frame, r.label, *(round(v, 1) for v in r.box), r.runs) for r in medium.regions]
    return sorted(rows, key=str)


def put_images(folder: Path) -> None:
    for medium in IMAGES.media:
        path = folder / "images" / medium.name.replace(" ", "_")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((48, 64, 3), np.uint8)).save(path)


def as_exported(folder: Path, tool: str) -> Path:
    """Return what the tool exports after it has imported the predictions and a person has accepted them."""
    if tool == "label-studio":
        file = folder / "label-studio.json"
        tasks = json.loads(file.read_text())
        for task in tasks:
            task["annotations"] = [{"result": task["predictions"][0]["result"]}]
        file.write_text(json.dumps(tasks))
        return file
    return folder


@pytest.mark.parametrize("tool", ["cvat", "label-studio", "yolo", "coco"])
def test_labels_of_images_are_read_back(tool: str, tmp_path: Path) -> None:
    WRITERS[tool](IMAGES, tmp_path)
    if tool == "yolo":
        put_images(tmp_path)
    found = read_labels(as_exported(tmp_path, tool))
    assert found.labels == ("polyp", "tool")
    assert not found.problems
    for name in ("p1/a b.png", "empty.png"):
        expected, got = regions(IMAGES, name), regions(found, name.replace(" ", "_") if tool == "yolo" else name)
        if tool == "yolo":
            # Polygons have no holes.
            whole = masked("tool", disc())
            expected = sorted([row if row[1] == "polyp" else (*row[:-1], whole.runs) for row in expected], key=str)
        assert got == expected
    if tool in ("cvat", "label-studio"):
        (medium,) = (one for one in found.media if one.name == "colon.png")
        assert [label for label, _ in medium.classes] == ["colon"]


@pytest.mark.parametrize("tool", ["cvat", "label-studio"])
def test_labels_of_videos_are_read_back(tool: str, tmp_path: Path) -> None:
    files = WRITERS[tool](VIDEO, tmp_path)
    found = read_labels(files[0] if tool == "cvat" else as_exported(tmp_path, tool))
    (medium,) = found.media
    assert medium.frames == 9
    if tool == "label-studio":
        # The export of a video states no size, and percentages.
        size = np.array([64, 48, 64, 48]) / 100
        scaled = (replace(r, box=tuple((np.array(r.box) * size).tolist())) for r in medium.regions)  # type: ignore[arg-type]
        found = LabelSet((replace(medium, regions=tuple(scaled)),), found.labels)
    assert regions(found, "v.mp4") == regions(VIDEO, "v.mp4")
    tracks = [region.track for region in medium.regions if region.label == "polyp"]
    assert len(set(tracks)) == 1


CVAT_IMAGES = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version>
<meta><job><id>7</id><labels><label><name>tool</name></label><label><name>polyp</name></label></labels></job></meta>
<image id="0" name="a.png" subset="Validation" width="10" height="8">
  <polygon label="polyp" source="manual" occluded="0" points="2.00,1.00;6.00,1.00;6.00,5.00;2.00,5.00" z_order="0"/>
  <mask label="tool" source="manual" occluded="0" rle="1, 2, 2, 1" left="3" top="6" width="3" height="2" z_order="0"/>
  <box label="polyp" source="manual" occluded="0" xtl="2" ytl="2" xbr="6" ybr="4" rotation="90" z_order="0"/>
  <ellipse label="polyp" source="manual" occluded="0" cx="5" cy="4" rx="3" ry="2" z_order="0"/>
  <polyline label="polyp" source="manual" points="1,1;2,2" z_order="0"/>
</image></annotations>"""

CVAT_VIDEO = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version>
<meta><task><id>3</id><name>n</name><size>5</size><stop_frame>4</stop_frame><source>v.mp4</source>
<labels><label><name>polyp</name></label></labels>
<original_size><width>64</width><height>48</height></original_size></task></meta>
<track id="0" label="polyp" source="manual">
  <box frame="1" keyframe="1" outside="0" occluded="0" xtl="1" ytl="2" xbr="11" ybr="12" z_order="0"/>
  <box frame="2" keyframe="0" outside="0" occluded="0" xtl="2" ytl="2" xbr="12" ybr="12" z_order="0"/>
  <box frame="3" keyframe="1" outside="1" occluded="0" xtl="3" ytl="2" xbr="13" ybr="12" z_order="0"/>
</track></annotations>"""


def test_cvat_as_it_is_exported(tmp_path: Path) -> None:
    file = tmp_path / "annotations.xml"
    file.write_text(CVAT_IMAGES)
    found = read_labels(tmp_path)
    assert found.labels == ("tool", "polyp")
    assert found.problems == [("a.png", "a polyline of polyp was left out")]
    (medium,) = found.media
    assert medium.split == "val"
    polygon, mask, turned, oval = medium.regions
    assert (polygon.box, polygon.mask(8, 10).sum()) == ((2, 1, 6, 5), 16)
    assert mask.mask(8, 10)[6:, 3:6].tolist() == [[False, True, True], [False, False, True]]
    assert turned.box == pytest.approx((3, 1, 5, 5))
    assert oval.mask(8, 10).sum() == pytest.approx(np.pi * 6, abs=2)
    file.write_text(CVAT_VIDEO)
    (video,) = read_labels(tmp_path).media
    assert (video.name, video.frames) == ("v.mp4", 5)
    assert [(region.frame, region.box[0]) for region in video.regions] == [(1, 1), (2, 2)]
    for damaged in (CVAT_IMAGES.replace('rle="1,', 'rle="9,'), CVAT_IMAGES[:400], "<!DOCTYPE x><annotations>"):
        file.write_text(damaged)
        with pytest.raises(InputError, match=r"annotations\.xml"):
            READERS["cvat"].read(tmp_path)


def test_label_studio_as_it_is_exported(tmp_path: Path) -> None:
    common = {"original_width": 200, "original_height": 100, "image_rotation": 0, "to_name": "image", "from_name": "x"}
    box = {"x": 10, "y": 20, "width": 30, "height": 40, "rotation": 0, "rectanglelabels": ["polyp"]}
    polygon = {"points": [[10, 10], [20, 10], [20, 30], [10, 30]], "polygonlabels": ["tool"]}
    tasks = [
        {
            "data": {"image": "/data/upload/3/0a1b2c3d-a.png"},
            "annotations": [
                {"was_cancelled": True, "result": [{"type": "choices", "value": {"choices": ["no"]}}]},
                {
                    "result": [
                        {**common, "type": "rectanglelabels", "value": box},
                        {**common, "type": "polygonlabels", "value": polygon},
                        {"type": "choices", "value": {"choices": ["colon"]}},
                        {"type": "pairwise", "value": {}},
                    ]
                },
            ],
        },
        {"data": {"image": "/data/local-files/?d=set%2Fb.png"}, "annotations": []},
        {
            "data": {"video": "s3://bucket/some/v.mp4"},
            "annotations": [
                {
                    "result": [
                        {
                            "type": "videorectangle",
                            "value": {
                                "framesCount": 20,
                                "labels": ["polyp"],
                                "sequence": [
                                    {"frame": 3, "x": 10, "y": 10, "width": 20, "height": 20, "enabled": True},
                                    {"frame": 7, "x": 30, "y": 10, "width": 20, "height": 40, "enabled": False},
                                ],
                            },
                        },
                        {
                            "type": "timelinelabels",
                            "value": {"ranges": [{"start": 1, "end": 10}], "timelinelabels": ["insertion"]},
                        },
                    ]
                }
            ],
        },
    ]
    file = tmp_path / "project-1.json"
    file.write_text(json.dumps(tasks))
    found = read_labels(file)
    image, video = found.media
    assert [name for name, _ in found.problems] == ["a.png", "set/b.png"]
    assert "type pairwise" in found.problems[0][1]
    assert image.name == "a.png"
    assert image.classes == (("colon", None),)
    assert image.regions[0].box == (20, 20, 80, 60)
    assert (image.regions[1].box, image.regions[1].mask(100, 200).sum()) == ((20, 10, 40, 30), 400)
    assert (video.name, video.frames, video.spans) == ("v.mp4", 20, ((0, 10, "insertion"),))
    # From key frame 3 to key frame 7, where it ends, in a straight line; frames from 0.
    assert [region.frame for region in video.regions] == [2, 3, 4, 5, 6]
    assert [region.box[0] for region in video.regions] == [10, 15, 20, 25, 30]
    for name, frames in (("https://host/media/0815", None), ("https://host/a/v.mp4?sig=1", 0)):
        whole = {"type": "choices", "value": {"choices": ["colon"]}}
        file.write_text(json.dumps([{"data": {"any": name}, "annotations": [{"result": [whole]}]}]))
        (medium,) = read_labels(file).media
        assert (medium.name, medium.frames) == (name.split("/")[-1].split("?")[0], frames)
    file.write_text(json.dumps([{"data": {"image": "a.png"}, "annotations": [{"result": [{"type": 3}]}]}]))
    with pytest.raises(InputError, match="Label Studio"):
        READERS["label-studio"].read(file)


def test_yolo_as_it_is_exported(tmp_path: Path) -> None:
    put_images(tmp_path / "valid")
    labels = tmp_path / "valid" / "labels"
    (labels / "p1").mkdir(parents=True)
    (labels / "p1" / "a_b.txt").write_text("1 0.5 0.5 0.25 0.5\n0 0.25 0.25 0.5 0.25 0.5 0.5 0.25 0.5\n")
    (tmp_path / "data.yaml").write_text("train: ../train/images\nval: ../valid/images\nnc: 2\nnames: [tool, polyp]\n")
    found = read_labels(tmp_path)
    assert found.labels == ("tool", "polyp")
    assert {medium.split for medium in found.media} == {"val"}
    box, polygon = next(one for one in found.media if one.name.endswith("a_b.png")).regions
    assert (box.label, box.box) == ("polyp", (24, 12, 40, 36))
    assert (polygon.label, polygon.mask(48, 64).sum()) == ("tool", 16 * 12)
    for line in ("7 0.5 0.5 0.1 0.1", "polyp 0.5 0.5 0.1 0.1", "0 0.1 0.2 0.3", "-1 0 0 0 0"):
        (labels / "p1" / "a_b.txt").write_text(line)
        with pytest.raises(InputError, match=r"a_b\.txt, line 1"):
            read_labels(tmp_path)


def test_formats_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no format of labels fits"):
        read_labels(tmp_path)
    with pytest.raises(InputError, match="choose one of cvat"):
        read_labels(tmp_path, "voc")
    with pytest.raises(InputError, match="no such file"):
        read_labels(tmp_path / "x.json")
    for tool in ("cvat", "coco"):
        WRITERS[tool](IMAGES, tmp_path)
    with pytest.raises(InputError, match="could be cvat or coco"):
        read_labels(tmp_path)
    assert len(read_labels(tmp_path, "coco").media) == 3
