"""Every set's published layout in miniature, prepared by the real engine in real processes."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from endofm.data.manifest import ClipRow, read_manifest
from endofm.data.prepare.catalogue import SETS, find_set
from endofm.data.prepare.clip_format import ClipFormat
from endofm.data.prepare.preparation import PrepareReport, plan, prepare
from endofm.errors import InputError
from endofm.hub.download import file_sha256
from helpers import made_sets
from helpers.made_sets import numbers_in

SMALL = ClipFormat(clip_frames=5, short_side=64)


def run(name: str, build: Callable[[Path], None], folder: Path) -> tuple[PrepareReport, list[ClipRow]]:
    source = folder / "source"
    build(source)
    report = prepare(find_set(name), source, folder / "out", clip_format=SMALL, jobs=1, progress=False)
    return report, read_manifest(folder / "out" / "manifest.csv")


# name, layout, (video, patient, label, split, frame numbers of its clips) of every recording
EXPECTED = [
    (
        "colonoscopic",
        made_sets.colonoscopic,
        {
            ("adenoma_01/NBI", "adenoma_01", "adenoma", ""): [range(5), range(5, 12)],
            ("adenoma_01/WL", "adenoma_01", "adenoma", ""): [range(5), range(5, 12)],
            ("hyperplasic_02/NBI", "hyperplasic_02", "hyperplasic", ""): [range(5), range(5, 12)],
            ("hyperplasic_02/WL", "hyperplasic_02", "hyperplasic", ""): [range(5), range(5, 12)],
        },
    ),
    (
        "sun-seg",
        made_sets.sun_seg,
        {
            ("case1_1", "case1", "polyp", "Train"): [range(1, 6), range(6, 13)],
            ("case1_2", "case1", "polyp", "TestEasy"): [range(1, 9)],
            ("negative-case3", "negative-case3", "no polyp", ""): [
                range(1, 6),
                range(6, 11),
                range(11, 16),
                range(16, 23),
            ],
        },
    ),
    (
        "ldpolypvideo",
        made_sets.ldpolypvideo,
        {
            ("TrainValid/1", "", "", "TrainValid"): [range(1, 6), range(6, 12)],
            ("Test/101", "", "", "Test"): [range(1, 5)],
        },
    ),
    (
        "hyper-kvasir",
        made_sets.hyper_kvasir,
        {
            ("11305ea5-389a-46c8-95f3-94a1af84247d", "", "polyps", ""): [range(5), range(5, 14)],
            ("2c1a", "", "pylorus", ""): [range(6)],
        },
    ),
    (
        "kvasir-capsule",
        made_sets.kvasir_capsule,
        {
            ("3c8d5f0b90d7475d", "3c8d5f0b90d7475d", "", ""): [range(5), range(5, 11)],
            ("04a7", "04a7", "", ""): [range(4)],
        },
    ),
    (
        "cholect45",
        made_sets.cholect45,
        {("VID01", "VID01", "", ""): [range(5), range(5, 13)], ("VID02", "VID02", "", ""): [range(4)]},
    ),
]


@pytest.mark.parametrize(("name", "build", "expected"), EXPECTED, ids=[case[0] for case in EXPECTED])
def test_pretraining_set(
    name: str,
    build: Callable[[Path], None],
    expected: dict[tuple[str, str, str, str], list[range]],
    tmp_path: Path,
) -> None:
    report, rows = run(name, build, tmp_path)
    out = tmp_path / "out"
    assert report.problems == ()
    assert [row.path for row in rows] == [f"{place:05}.mp4" for place in range(1, len(rows) + 1)]
    found: dict[tuple[str, str, str, str], list[range]] = {}
    for row in rows:
        numbers = numbers_in(out / row.path)
        assert numbers == list(range(numbers[0], numbers[-1] + 1)), "frames out of order"
        assert len(numbers) == row.num_frames == row.source_last_frame - row.source_first_frame + 1
        assert row.sha256 == file_sha256(out / row.path)
        assert min(row.width, row.height) == 64
        found.setdefault((row.video, row.patient, row.label, row.split), []).append(range(numbers[0], numbers[-1] + 1))
    assert found == expected
    listed = [line.rsplit(",", 1) for line in (out / "train.csv").read_text().splitlines()]
    assert all(Path(path).is_file() and label == "-1" for path, label in listed)
    assert len(listed) == len(rows) == report.clips
    assert len(np.load(out / "hashes.npz")["ends"]) == len(rows)


def test_what_is_not_part_of_a_set_is_named(tmp_path: Path) -> None:
    report, _ = run("colonoscopic", made_sets.colonoscopic, tmp_path)
    assert [name for name, _ in report.dropped] == ["trailer.mp4"]


def test_true_times_of_a_slow_source_are_kept(tmp_path: Path) -> None:
    _, rows = run("cholect45", made_sets.cholect45, tmp_path)
    assert (rows[0].fps, rows[0].source_fps) == (30, 1)
    assert [(row.source_start_seconds, row.source_end_seconds) for row in rows] == [(0, 5), (5, 13), (0, 4)]


def test_polypdiag_keeps_names_and_lists(tmp_path: Path) -> None:
    report, rows = run("polypdiag", made_sets.polypdiag, tmp_path)
    out = tmp_path / "out"
    assert [(row.path, row.label, row.split) for row in rows] == [
        ("videos/a.mp4", "0", "train"),
        ("videos/b.mp4", "1", "train"),
        ("videos/c.mp4", "1", "val"),
    ]
    assert {row.num_frames for row in rows} == {20}, "whole videos, not clips"
    assert numbers_in(out / "videos" / "b.mp4") == list(range(20))
    assert (out / "splits" / "train.txt").read_text() == "a.mp4,0\nb.mp4,1\n"
    assert (out / "splits" / "val.txt").read_text() == "c.mp4,1\n"
    assert report.dropped == (("spare.mp4", "is in no list"),)


def test_polypdiag_names_overlap_of_its_lists_and_missing_videos(tmp_path: Path) -> None:
    made_sets.polypdiag(tmp_path)
    (tmp_path / "splits" / "val.txt").write_text("c.mp4,1\na.mp4,0\ngone.mp4,1\n")
    found = plan(SETS["polypdiag"], tmp_path)
    assert dict(found.problems).keys() == {"videos/a.mp4", "videos/gone.mp4"}
    assert {item.video: item.split for item in found.items} == {"a.mp4": "train+val", "b.mp4": "train", "c.mp4": "val"}


@pytest.mark.parametrize("line", ["a.mp4", "a,b.mp4,1", "a.mp4,one"])
def test_polypdiag_refuses_a_bad_list(line: str, tmp_path: Path) -> None:
    made_sets.polypdiag(tmp_path)
    (tmp_path / "splits" / "val.txt").write_text(f"c.mp4,1\n{line}\n")
    with pytest.raises(InputError, match=r"val\.txt, line 2"):
        plan(SETS["polypdiag"], tmp_path)


def test_cvc_becomes_folders_of_frames_and_masks(tmp_path: Path) -> None:
    report, rows = run("cvc-12k", made_sets.cvc, tmp_path)
    out = tmp_path / "out"
    runs = {row.video: (row.split, row.num_frames) for row in rows}
    assert runs == {
        "001-025": ("test", 25),
        "026-050": ("train", 25),
        "051-067": ("train+test", 17),
        "068-078": ("train+test", 8),
        "200-205": ("train+test", 6),
    }
    frame = np.asarray(Image.open(out / "frames" / "026-050" / "30.png"))
    assert np.array_equal(frame, made_sets.picture(91, 30)), "lossless"
    mask = np.asarray(Image.open(out / "masks" / "026-050" / "30.png"))
    assert mask[20, 30:50].tolist() == [255] * 20
    assert mask.sum() == 30 * 20 * 255
    assert numbers_in(out / "frames" / "200-205") == list(range(200, 206))
    with (out / "test.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [Path(line["frames"]).name for line in lines] == ["051-067", "001-025", "068-078", "200-205"]
    assert all((out / line["masks"]).is_dir() for line in lines)
    assert (out / "train_without_test.csv").read_text().splitlines()[1:] == ["frames/026-050,masks/026-050,026-050"]
    assert (out / "lists" / "test.txt").read_text().splitlines()[0] == "CVC-ClinicVideoDB/indexed 51 17 -1"
    assert "7 of the 9" in (out / "LISTS.txt").read_text()
    assert any("76, 77, 78" in text for _, text in report.problems), "frames of a run that are not there are named"


def test_cvc_lists_have_the_published_counts() -> None:
    from endofm.data.prepare import cvc

    frames = {name: sum(length for _, length in runs) for name, runs in cvc.LISTS.items()}
    assert frames == {"train": 401, "test": 171, "train_without_test": 280, "test_without_train": 50, "unlisted": 161}
    numbers = [n for first, length in {*cvc.TRAIN, *cvc.TEST, *cvc.UNLISTED} for n in range(first, first + length)]
    assert sorted(numbers) == list(range(1, 613)), "every still is in one run"


def test_cvc_leaves_out_a_frame_whose_mask_does_not_fit(tmp_path: Path) -> None:
    def build(root: Path) -> None:
        made_sets.cvc(root, range(200, 206))
        masks = root / "CVC-ClinicDB" / "Ground Truth"
        Image.new("L", (50, 50)).save(masks / "201.tif")
        (masks / "202.tif").write_bytes(b"II*\0 no image")
        (masks / "203.tif").unlink()

    report, rows = run("cvc-12k", build, tmp_path)
    assert [(row.num_frames, row.skipped_frames) for row in rows] == [(3, 3)]
    text = "\n".join(text for _, text in report.problems)
    for number in (201, 202, 203):
        assert f"frame {number} was left out" in text
    assert len(list((tmp_path / "out" / "masks" / "200-205").iterdir())) == 3


def test_kumc_is_grouped_by_video_in_order_of_time(tmp_path: Path) -> None:
    report, rows = run("kumc", made_sets.kumc, tmp_path)
    out = tmp_path / "out"
    assert {row.path: row.num_frames for row in rows} == {
        "train2019/Image/adenoma-7": 12,
        "train2019/Image/hyper-7": 5,
        "val2019/Image/1": 10,
        "test2019/Image/1": 10,
    }
    assert numbers_in(out / "train2019" / "Image" / "adenoma-7") == list(range(1, 13))
    assert {name.rpartition("/")[2] for name, _ in report.dropped} >= {"11.jpg"}, "an image without annotation is named"
    lists = (out / "ImageSets" / "train.txt").read_text().splitlines()
    assert lists[:2] == ["adenoma-7 1 1 12", "adenoma-7 2 2 12"]
    assert len(lists) == 17
    for row in rows:
        images = sorted((out / row.path).iterdir())
        annotations = sorted((out / row.path.replace("Image", "Annotation")).iterdir())
        assert [path.stem for path in images] == [path.stem for path in annotations]
    coco = json.loads((out / "annotations" / "train.json").read_text())
    tenth = next(image for image in coco["images"] if image["file_name"] == "train2019/Image/adenoma-7/10.jpg")
    assert tenth["frame_id"] == 10
    boxes = [box for box in coco["annotations"] if box["image_id"] == tenth["id"]]
    assert [(box["bbox"], box["category_id"]) for box in boxes] == [([5, 6, 35, 34], 1)]
    val = json.loads((out / "annotations" / "val.json").read_text())
    assert len(val["images"]) == 10
    assert {tuple(box["bbox"]) for box in val["annotations"]} == {(1, 2, 94, 48)}, "clipped to the image"
    assert len(val["annotations"]) == 8, "images without a box stay in, as background"


def test_kumc_reports_what_it_cannot_use(tmp_path: Path) -> None:
    def build(root: Path) -> None:
        made_sets.kumc(root)
        annotations = root / "PolypsSet" / "val2019" / "Annotation" / "1"
        (annotations / "3.xml").write_text(made_sets.voc_text("3.jpg", "1", [("cancer", 1, 2, 30, 40)]))
        (annotations / "4.xml").write_text("<annotation><object>")
        (annotations / "5.xml").write_text(made_sets.voc_text("5.jpg", "1", [("adenomatous", 9, 9, 9, 40)]))
        (root / "PolypsSet" / "val2019" / "Image" / "1" / "6.jpg").write_bytes(b"\xff\xd8\xff broken")

    report, rows = run("kumc", build, tmp_path)
    texts = " ".join(text for name, text in report.problems if "val2019" in name)
    assert "'cancer'" in texts
    assert "4.xml: not an XML file" in texts
    assert "6.jpg" in texts
    assert any("box without area" in text for _, text in report.dropped)
    assert {row.path: row.num_frames for row in rows}["val2019/Image/1"] == 7


@pytest.mark.parametrize("name", sorted(SETS))
def test_a_folder_of_another_layout_is_refused_with_the_expected_one(name: str, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing here")
    with pytest.raises(InputError, match="expected|no videos"):
        plan(SETS[name], tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        plan(SETS[name], tmp_path / "gone")


def test_unknown_set_names_a_close_one() -> None:
    with pytest.raises(InputError, match="did you mean 'hyper-kvasir'"):
        find_set("hyperkvasir")
