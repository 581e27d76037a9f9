from pathlib import Path

import pytest

from endofm.data.stills.layouts import read_stills
from endofm.data.stills.still import still_table
from endofm.errors import InputError
from helpers.made_stills import CENTRES, write_classes, write_coco, write_masked, write_voc


@pytest.mark.parametrize(
    "names",
    [
        {"images": "images", "masks": "masks"},
        {"images": "Kvasir-SEG/images", "masks": "Kvasir-SEG/masks"},
        {"images": "CVC-ClinicDB/Original", "masks": "CVC-ClinicDB/Ground Truth"},
        {"images": "ETIS-LaribPolypDB", "masks": "Ground Truth", "name": "p{}.png"},
    ],
)
def test_masks_are_paired_with_their_images(tmp_path: Path, names: dict[str, str]) -> None:
    listing = read_stills(write_masked(tmp_path, **names))
    assert not listing.problems
    assert [still.name for still in listing.stills] == [f"{names['images']}/{n}.png" for n in range(1, 7)]
    for still in listing.stills:
        assert still.mask is not None
        assert still.mask.stem.removeprefix("p") == still.path.stem


def test_an_image_without_a_mask_is_named(tmp_path: Path) -> None:
    root = write_masked(tmp_path)
    (root / "masks" / "3.png").unlink()
    listing = read_stills(root)
    assert len(listing.stills) == 5
    assert listing.problems == (("images/3.png", "has no mask in masks"),)


@pytest.mark.parametrize("name", ["splits.csv", "index.csv"])
def test_subsets_and_groups_may_be_listed(tmp_path: Path, name: str) -> None:
    root = write_masked(tmp_path)
    (root / name).write_text("image,split,group\n1.png,val,a\n2,test,b\nimages/3.png,train,\n")
    stills = read_stills(root).stills
    assert [(still.split, still.group) for still in stills[:4]] == [
        ("val", "a"),
        ("test", "b"),
        ("train", ""),
        ("", ""),
    ]
    assert [still.name for still in read_stills(root).part("train").stills] == [f"images/{n}.png" for n in (3, 4, 5, 6)]


@pytest.mark.parametrize(("write", "layout"), [(write_coco, "coco"), (write_voc, "voc")])
def test_boxes_are_read(tmp_path: Path, write, layout: str) -> None:
    stills = read_stills(write(tmp_path)).stills
    assert read_stills(tmp_path, layout).stills == stills
    assert len(stills) == 6
    for still, (x, y) in zip(stills, CENTRES, strict=True):
        (box,) = still.boxes or ()
        assert box.label == "disc"
        assert abs((box.x1 + box.x2) / 2 - x) <= 0.5
        assert abs((box.y1 + box.y2) / 2 - y) <= 0.5
    assert stills[0].split == "train"
    assert stills[5].split == "val"


def test_class_folders(tmp_path: Path) -> None:
    stills = read_stills(write_classes(tmp_path)).stills
    assert {(still.label, still.split) for still in stills} == {
        (label, split) for label in ("left", "right") for split in ("train", "val")
    }


def test_lists_of_classes_and_of_masks(tmp_path: Path) -> None:
    root = write_masked(tmp_path)
    (root / "labels.csv").write_text("path,label,split,patient\nimages/1.png,a,val,p1\nimages/2.png,b,train,p2\n")
    stills = read_stills(root / "labels.csv").stills
    assert [(s.name, s.label, s.split, s.group) for s in stills] == [
        ("images/1.png", "a", "val", "p1"),
        ("images/2.png", "b", "train", "p2"),
    ]
    (root / "masked.csv").write_text("frames,masks,patient\nimages/4.png,masks/4.png,p4\n")
    (masked,) = read_stills(root / "masked.csv").stills
    assert (masked.path, masked.mask, masked.group) == (root / "images/4.png", root / "masks/4.png", "p4")


def test_what_fits_two_layouts_has_to_be_named(tmp_path: Path) -> None:
    write_coco(tmp_path)
    write_masked(tmp_path, images="images2")
    with pytest.raises(InputError, match="masks or coco; name one with --layout"):
        read_stills(tmp_path)
    assert read_stills(tmp_path, "coco").stills[0].boxes


def test_unknown_sources_and_layouts_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no such folder or list of stills"):
        read_stills(tmp_path / "nowhere")
    with pytest.raises(InputError, match="no layout of stills fits"):
        read_stills(tmp_path)
    with pytest.raises(InputError, match="there is no layout 'masked'"):
        read_stills(write_masked(tmp_path), "masked")


def test_a_table_has_the_stills_as_clips(tmp_path: Path) -> None:
    listings = [read_stills(write_classes(tmp_path / "one")), read_stills(write_masked(tmp_path / "two"))]
    table = still_table(listings)
    assert len(table) == 12
    assert table.classes == ("left", "right")
    assert len({table.id[row] for row in range(12)}) == 12
    assert table.label[6:].tolist() == [-1] * 6
