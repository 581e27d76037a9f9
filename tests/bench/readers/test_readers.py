"""Readers of public sets, on miniatures in their published layouts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from endofm.bench.probe_set import ProbeSet
from endofm.bench.readers.boxes import LesionRetrieval
from endofm.bench.readers.clips import clip_until, spread_clips
from endofm.bench.readers.masked_stills import MaskedStills
from endofm.bench.readers.recordings import Phases
from endofm.bench.suite import load_suite
from endofm.data.prepare.cvc import LISTS, clip_name
from endofm.errors import ConfigError, InputError
from helpers import made_sets

SETS = load_suite("public").sets


def by_part(data: ProbeSet) -> dict[str, list[str]]:
    parts: dict[str, list[str]] = {}
    for item in data.items:
        parts.setdefault(item.part, []).append(item.name)
    return parts


@pytest.mark.parametrize("name", SETS)
def test_a_set_that_is_missing_is_described(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as raised:
        SETS[name].read(tmp_path)
    for text in (str(tmp_path), SETS[name].reader.folder, SETS[name].obtain, SETS[name].title):
        assert text in str(raised.value)


def test_every_set_states_its_split_and_where_it_is_from() -> None:
    for config in SETS.values():
        assert config.split
        assert config.obtain.startswith("http")
        assert config.images_of
    assert "not known" in SETS["kvasir-seg"].split_source


def test_recordings_are_split_as_published(tmp_path: Path) -> None:
    made_sets.polypdiag(tmp_path / "PolypDiag")
    data = SETS["polypdiag"].read(tmp_path)
    assert set(by_part(data)) == {"train", "test"}
    first = data.items[0].read()
    assert first.shape[:2] == (4, 8)
    assert first.dtype == np.uint8


def test_lesions_in_both_lights_are_one_group(tmp_path: Path) -> None:
    made_sets.colonoscopic(tmp_path / "Colonoscopic")
    data = SETS["colonoscopic"].read(tmp_path)
    assert len(data.items) == 4
    assert len(set(data.groups)) == 2
    assert data.classes == ("adenoma", "hyperplasic")


def test_sequences_of_cvc_never_train_and_test(tmp_path: Path) -> None:
    made_sets.cvc(tmp_path / "CVC-ClinicDB", range(1, 613))
    reader = MaskedStills(name="mask-cells", folder="CVC-ClinicDB", sequences=True)
    data = reader.read(tmp_path)
    groups = {part: {item.group for item in data.items if item.part == part} for part in ("train", "test")}
    assert groups["test"] == {clip_name(run) for run in LISTS["test"]}
    assert not groups["train"] & groups["test"]
    assert len(groups["train"]) == 20 - 7 + 5
    assert len(data.items) == 612


def test_boxes_of_kumc_are_crops_with_the_class_of_the_polyp(tmp_path: Path) -> None:
    made_sets.kumc(tmp_path / "PolypsSet")
    data = SETS["kumc"].read(tmp_path)
    assert data.classes == ("adenomatous", "hyperplastic")
    assert set(by_part(data)) == {"train", "val", "test"}
    crop = data.items[0].read()
    assert crop.shape[:2] == (1, 1)
    assert min(crop.shape[2:4]) > 4


def test_stills_are_held_out_the_same_way_every_time(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for name in ("images", "masks"):
        (tmp_path / "Kvasir-SEG" / name).mkdir(parents=True)
    for number in range(10):
        image = generator.integers(0, 255, (300, 400, 3), np.uint8)
        mask = np.zeros((300, 400), np.uint8)
        mask[100:200, 100:200] = 255
        Image.fromarray(image).save(tmp_path / f"Kvasir-SEG/images/{number}.jpg")
        Image.fromarray(mask).save(tmp_path / f"Kvasir-SEG/masks/{number}.jpg")
    data = SETS["kvasir-seg-cells"].read(tmp_path)
    assert len(by_part(data)["test"]) == 2
    assert by_part(SETS["kvasir-seg-cells"].read(tmp_path)) == by_part(data)
    assert data.items[0].read().shape[2:4] == (256, 341)
    (tmp_path / "Kvasir-SEG/masks/3.jpg").unlink()
    with pytest.raises(InputError, match=r"no mask of 3\.jpg"):
        SETS["kvasir-seg-cells"].read(tmp_path)


def test_published_tables_decide_about_images_anywhere_below(tmp_path: Path) -> None:
    root = tmp_path / "kvasir-capsule"
    for kind in ("Erosion", "Pylorus"):
        (root / "labelled_images" / kind).mkdir(parents=True)
    names = {"aa_1.jpg": "Erosion", "aa_2.jpg": "Pylorus", "bb_7.jpg": "Erosion", "bb_8.jpg": "Pylorus"}
    for name, kind in names.items():
        Image.new("RGB", (32, 32), (90, 60, 50)).save(root / "labelled_images" / kind / name)
    for table, recording in (("split_0.csv", "aa"), ("split_1.csv", "bb")):
        rows = [f"{name},{kind}" for name, kind in names.items() if name.startswith(recording)]
        (root / table).write_text("\n".join(["filename,label", *rows]) + "\n")
    data = SETS["kvasir-capsule"].read(tmp_path)
    assert by_part(data) == {"train": ["aa_1.jpg", "aa_2.jpg"], "test": ["bb_7.jpg", "bb_8.jpg"]}
    assert data.groups == ["aa", "aa", "bb", "bb"]
    assert data.labels.tolist() == [0, 1, 0, 1]
    (root / "labelled_images/Erosion/bb_7.jpg").unlink()
    with pytest.raises(InputError, match="1 listed images are missing"):
        SETS["kvasir-capsule"].read(tmp_path)


def test_semicolons_and_fold_numbers_of_hyperkvasir(tmp_path: Path) -> None:
    root = tmp_path / "hyper-kvasir-labeled-images"
    (root / "lower-gi-tract/polyps").mkdir(parents=True)
    for name in ("a.jpg", "b.jpg"):
        Image.new("RGB", (32, 32)).save(root / "lower-gi-tract/polyps" / name)
    (root / "2_fold_split.csv").write_text("file-name;class-name;split-index\na.jpg;polyps;0\nb.jpg;polyps;1\n")
    assert by_part(SETS["hyperkvasir"].read(tmp_path)) == {"train": ["a.jpg"], "test": ["b.jpg"]}


def test_phases_show_the_seconds_before_and_nothing_after(tmp_path: Path) -> None:
    root = tmp_path / "operations"
    for number in (1, 2, 3):
        made_sets.make_video(root / f"videos/video{number:02}.mp4", number, 40, fps=10)
        rows = "".join(f"{frame}\t{'Preparation' if frame < 20 else 'Dissection'}\n" for frame in range(40))
        (root / "phases").mkdir(exist_ok=True)
        (root / f"phases/video{number:02}-phase.txt").write_text(f"Frame\tPhase\n{rows}")
    reader = Phases(
        folder="operations",
        annotations="phases",
        fps=10,
        split={"train": (1, 1), "val": (2, 2), "test": (3, 3)},
        every=1.0,
        frames=4,
        seconds=1.0,
    )
    data = reader.read(tmp_path)
    assert {part: len(names) for part, names in by_part(data).items()} == {"train": 3, "val": 3, "test": 3}
    assert data.classes == ("Dissection", "Preparation")
    assert data.labels[:3].tolist() == [1, 0, 0]
    # The moment at 2 s is frame 20: its clip is from frames 10 to 19.
    shown = [made_sets.number_of(frame) for frame in data.items[1].read()[0]]
    assert shown == [11, 13, 16, 18]
    (root / "phases/video03-phase.txt").unlink()
    with pytest.raises(InputError, match="no table of operation 3"):
        reader.read(tmp_path)


def test_lesions_are_found_again_by_their_id(tmp_path: Path) -> None:
    root = tmp_path / "real_colon"
    for folder in ("001-001_frames", "001-001_annotations"):
        (root / folder).mkdir(parents=True)
    for number in range(6):
        name = f"001-001_{number}"
        Image.new("RGB", (80, 60), (40 * number, 80, 80)).save(root / f"001-001_frames/{name}.jpg")
        box = "<bndbox><xmin>10</xmin><ymin>10</ymin><xmax>30</xmax><ymax>25</ymax></bndbox>"
        lesion = f"001-001_{1 + number // 3}"
        text = f"<annotation><object><name>lesion</name><unique_id>{lesion}</unique_id>{box}</object></annotation>"
        (root / f"001-001_annotations/{name}.xml").write_text(text)
    data = LesionRetrieval(folder="real_colon", per_lesion=2).read(tmp_path)
    assert data.classes == ("001-001_1", "001-001_2")
    assert [item.name for item in data.items] == [
        *("001-001_0:001-001_1", "001-001_2:001-001_1", "001-001_3:001-001_2", "001-001_5:001-001_2")
    ]
    # A square of 1.2 times the longer side, 20, around the centre (20, 17.5).
    assert data.items[0].read().shape == (1, 1, 25, 25, 3)


def test_clips_are_spread_over_a_recording(tmp_path: Path) -> None:
    video = made_sets.make_video(tmp_path / "video.mp4", 1, 40, fps=10)
    clips = spread_clips(video, clips=2, frames=2, seconds=1.0)
    # Starts at a quarter and three quarters of the 3 s that are left, each with frames in the middle of half a second.
    assert [[made_sets.number_of(frame) for frame in clip] for clip in clips] == [[10, 15], [25, 30]]
    # A shorter recording is shown whole.
    assert spread_clips(video, clips=1, frames=2, seconds=60.0).shape[:2] == (1, 2)
    assert clip_until(video, 0.5, 2, 8.0).shape[:2] == (1, 2)


def test_a_suite_of_ones_own_is_checked(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("title: Mine\nsets: {a: {titel: x}}\n")
    with pytest.raises(ConfigError, match="titel"):
        load_suite(str(file))
    with pytest.raises(ConfigError, match="real-stills"):
        load_suite("nothing")
