"""``endofm data synth`` as users call it: layouts that readers understand, subsets by patient, going on."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import av
import numpy as np
import pytest
from PIL import Image

from endofm.data.check import check
from endofm.data.clip_dataset import ClipDataset, ClipSample
from endofm.data.listing import read_clips
from endofm.data.manifest import read_manifest
from endofm.data.prepare.catalogue import find_set
from endofm.data.prepare.preparation import prepare
from endofm.errors import ConfigError
from endofm.synthetic.render import mask_box
from endofm.synthetic.rendered_set import write_set
from endofm.synthetic.set_plan import SetSettings, plan_set, split_patients
from endofm.synthetic.specs import RenderConfig

CLIPS, FRAMES, SIZE = 9, 3, 48
SETS = {
    "pretrain": ["--task", "pretrain"],
    "classification": ["--task", "classification"],
    "segmentation": ["--task", "segmentation"],
    "folders": ["--task", "segmentation", "--layout", "folders"],
    "detection": ["--task", "detection"],
}


def command(out: Path, name: str, *more: str) -> list[str]:
    small = ["--clips", str(CLIPS), "--patients", "3", "--size", str(SIZE), "--frames", str(FRAMES), "--fps", "4"]
    return [sys.executable, "-m", "endofm", "data", "synth", str(out), *SETS[name], *small, *more]


def synth(out: Path, name: str, *more: str) -> str:
    result = subprocess.run(command(out, name, *more), capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One set of each layout, made by one worker."""
    root = tmp_path_factory.mktemp("synthetic")
    for name in SETS:
        assert "synthetic clips of 3 patients" in synth(root / name, name, "--workers", "1")
    return {name: root / name for name in SETS}


def content(root: Path) -> dict[str, bytes]:
    """Return every file but the notes on progress; the list with absolute paths as if it lay elsewhere."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes().replace(str(root).encode(), b"ROOT")
        for path in root.rglob("*")
        if path.is_file() and ".synth" not in path.parts
    }


def described(root: Path) -> dict[str, object]:
    return json.loads((root / "manifest.json").read_text())  # type: ignore[no-any-return]


def clips_of(root: Path) -> list[dict]:  # type: ignore[type-arg]
    return described(root)["clips"]  # type: ignore[return-value]


def test_two_workers_write_the_same_bytes_as_one(made: dict[str, Path], tmp_path: Path) -> None:
    synth(tmp_path / "again", "detection", "--workers", "2")
    assert content(tmp_path / "again") == content(made["detection"])


def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(made: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "set"
    process = subprocess.Popen(command(out, "classification", "--workers", "1"), stderr=subprocess.DEVNULL)
    end = time.monotonic() + 60
    while not list(out.glob(".synth/clips/[0-9]*.json")):
        assert time.monotonic() < end
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (out / "manifest.json").exists()
    # A video may be whole, or half-written under another name, without its record: only records say what is finished.
    records = [json.loads(path.read_text()) for path in out.glob(".synth/clips/[0-9]*.json")]
    finished = [out / name for record in records for name, *_ in record["files"]]
    before = [path.stat().st_mtime_ns for path in finished]
    synth(out, "classification", "--workers", "1")
    assert [path.stat().st_mtime_ns for path in finished] == before, "what was finished is kept"
    assert content(out) == content(made["classification"])
    assert not list(out.rglob(".partial-*"))


def test_a_set_can_grow_and_lost_files_are_made_again(tmp_path: Path) -> None:
    out = tmp_path / "set"
    one = ["--patients", "1", "--workers", "1"]
    synth(out, "pretrain", *one, "--clips", "2")  # The last of an option counts.
    few = content(out)
    (out / "clips" / "00002.mp4").unlink()
    synth(out, "pretrain", *one, "--clips", "3")
    more = content(out)
    assert len(read_manifest(out / "manifest.csv")) == 3
    assert all(more[name] == few[name] for name in few if name.startswith("clips/"))


def test_other_settings_and_foreign_folders_are_refused(made: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    for out, more, words in (
        (made["pretrain"], ["--seed", "5"], "render.seed was 0 and is now 5"),
        (tmp_path / "mine", [], "is not empty"),
        (tmp_path / "new", ["--size", "20"], "32"),
        (tmp_path / "new", ["--patients", "20"], "at least as many clips"),
    ):
        result = subprocess.run(command(out, "pretrain", *more), capture_output=True, text=True)
        assert result.returncode == 1
        assert words in result.stderr
        assert "Traceback" not in result.stderr
    assert not (tmp_path / "new").exists()


def test_a_run_that_finished_no_clip_leaves_the_folder_to_other_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    settings = {"task": "pretrain", "clips": 1, "patients": 1, "positive": 0.0, "split": (1.0, 0.0, 0.0)}
    first = SetSettings(**settings, render=RenderConfig(width=48, height=48, num_frames=2))
    monkeypatch.setattr("endofm.synthetic.rendered_set.run_tasks", stopped)
    with pytest.raises(KeyboardInterrupt):
        write_set(tmp_path / "set", first)
    monkeypatch.undo()
    other = SetSettings(**settings, render=RenderConfig(width=48, height=48, num_frames=3))
    assert len(write_set(tmp_path / "set", other, workers=1)) == 1


def test_overwrite_removes_the_old_set_and_nothing_else(tmp_path: Path) -> None:
    out = tmp_path / "set"
    few = ["--clips", "3", "--workers", "1"]
    synth(out, "detection", *few)
    (out / "train2019" / "notes.txt").write_text("mine")
    assert "holds a" not in synth(out, "pretrain", *few, "--overwrite")
    names = {
        path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file() and ".synth" not in path.parts
    }
    clips = {f"clips/0000{number}.mp4" for number in (1, 2, 3)}
    lists = {"train.csv", "manifest.csv", "manifest.json", "README.md", "contact-sheet.png", ".endofm-lock"}
    assert names == clips | lists | {"train2019/notes.txt"}


def test_a_folder_of_one_frame_has_the_checksum_that_the_check_computes(tmp_path: Path) -> None:
    synth(tmp_path / "set", "folders", "--clips", "3", "--frames", "1", "--workers", "1")
    assert check(tmp_path / "set", jobs=1, progress=False).counts() == {}


def test_subsets_share_no_patient(made: dict[str, Path]) -> None:
    for name in SETS:
        subsets: dict[str, set[str]] = {}
        for clip in clips_of(made[name]):
            subsets.setdefault(clip["split"], set()).add(clip["patient"])
        assert set(subsets) == ({"train"} if name == "pretrain" else {"train", "val", "test"})
        assert sum(map(len, subsets.values())) == len(set.union(*subsets.values())) == 3


def test_pretraining_clips_are_read(made: dict[str, Path]) -> None:
    root = made["pretrain"]
    for source in (root, root / "train.csv"):
        data = ClipDataset(source)
        assert len(data) == CLIPS
        clip = data[CLIPS - 1]
        assert isinstance(clip, ClipSample)
        assert clip.frames.shape == (FRAMES, SIZE, SIZE, 3)
        assert clip.pts_seconds.tolist() == pytest.approx([0, 0.25, 0.5])
    assert set(read_clips(root / "train.csv").label) == {-1}
    assert check(root, jobs=1, progress=False).counts() == {}


def test_classification_lists_are_read(made: dict[str, Path]) -> None:
    root = made["classification"]
    labels = {row.path: ("normal", "polyp").index(row.label) for row in read_manifest(root / "manifest.csv")}
    truth = {clip["files"][0]["path"]: clip["label"] for clip in clips_of(root)}
    assert labels == truth
    assert set(labels.values()) == {0, 1}
    seen = []
    for split in ("train", "val", "test"):
        table = read_clips(root / "splits" / f"{split}.txt", classes=["0", "1"])
        kinds = read_clips(root / "splits_kind" / f"{split}.txt", classes=[str(i) for i in range(7)])
        assert list(kinds.path) == list(table.path)
        for place in range(len(table)):
            path = Path(table.path[place]).relative_to(root).as_posix()
            assert labels[path] == table.label[place]
            assert (kinds.label[place] > 0) == (table.label[place] > 0)
            seen.append(path)
        assert isinstance(ClipDataset(table)[0], ClipSample)
    assert sorted(seen) == sorted(labels)
    assert prepare(find_set("polypdiag"), root, root.parent / "prepared", jobs=1, progress=False).clips == CLIPS


def test_segmentation_in_the_original_layout_is_read(made: dict[str, Path], tmp_path: Path) -> None:
    root = made["segmentation"]
    for clip in clips_of(root):
        for k, frame in enumerate(clip["frames"]):
            number = clip["index"] * FRAMES + k + 1
            mask = np.asarray(Image.open(root / "CVC-ClinicDB" / "Ground Truth" / f"{number}.tif"))
            image = np.asarray(Image.open(root / "CVC-ClinicDB" / "Original" / f"{number}.tif"))
            assert image.shape == (SIZE, SIZE, 3)
            assert mask_box(mask) == (None if frame is None else tuple(frame["box"]))
            assert np.count_nonzero(mask) == (0 if frame is None else frame["area"])
    lines = [line for split in ("train", "val", "test") for line in (root / f"lists/{split}.txt").open()]
    assert sorted(int(line.split()[1]) for line in lines) == [i * FRAMES + 1 for i in range(CLIPS)]
    assert {tuple(line.split()[2:]) for line in lines} == {(str(FRAMES), "-1")}


def test_segmentation_in_folders_is_read(made: dict[str, Path]) -> None:
    root = made["folders"]
    assert check(root, jobs=1, progress=False).counts() == {}
    data = ClipDataset(root)
    frames = {data.table.path[place]: data[place] for place in range(len(data))}
    rows = [row for split in ("train", "val", "test") for row in csv.DictReader((root / f"{split}.csv").open())]
    assert len(rows) == len(frames) == CLIPS
    original = made["segmentation"]
    for row in rows:
        clip = frames[str(root / row["frames"])]
        assert isinstance(clip, ClipSample)
        number = int(row["frames"].rpartition("_")[2])
        for k in range(FRAMES):
            mask = np.asarray(Image.open(root / row["masks"] / f"{k + 1:05d}.png"))
            name = f"{(number - 1) * FRAMES + k + 1}.tif"
            assert np.array_equal(mask, np.asarray(Image.open(original / "CVC-ClinicDB" / "Ground Truth" / name)))
            same = np.asarray(Image.open(original / "CVC-ClinicDB" / "Original" / name))
            assert np.array_equal(clip.frames[k].numpy(), same), "one seed, two layouts, the same pictures"


def test_detection_boxes_agree_in_all_forms(made: dict[str, Path], tmp_path: Path) -> None:
    root = made["detection"]
    truth = {
        clip["files"][k]["path"]: None if frame is None else (frame["name"], *frame["box"])
        for clip in clips_of(root)
        for k, frame in enumerate(clip["frames"])
    }
    for path, expected in truth.items():
        note = ElementTree.parse(root / path.replace("/Image/", "/Annotation/").replace(".jpg", ".xml"))
        found = [
            (
                thing.findtext("name"),
                *(int(thing.findtext(f"bndbox/{k}") or -1) for k in ("xmin", "ymin", "xmax", "ymax")),
            )
            for thing in note.iter("object")
        ]
        assert found == ([] if expected is None else [expected])
    coco = {}
    listed = []
    for split in ("train", "val", "test"):
        values = json.loads((root / f"annotations/{split}.json").read_text())
        names = {category["id"]: category["name"] for category in values["categories"]}
        boxes = {a["image_id"]: (names[a["category_id"]], a["bbox"]) for a in values["annotations"]}
        for image in values["images"]:
            coco[image["file_name"]] = boxes.get(image["id"])
        listed += (root / f"ImageSets/{split}.txt").read_text().splitlines()
    assert coco.keys() == truth.keys()
    for path, expected in truth.items():
        if expected is None:
            assert coco[path] is None
        else:
            name, x0, y0, x1, y1 = expected
            assert coco[path] == (name, [x0, y0, x1 - x0, y1 - y0])
    assert len(listed) == CLIPS * FRAMES
    report = prepare(find_set("kumc"), root, tmp_path / "kumc", jobs=1, progress=False)
    assert (report.clips, report.problems) == (CLIPS, ())


def comment_of(path: Path) -> str:
    if path.suffix == ".mp4":
        with av.open(str(path)) as container:
            return container.metadata.get("comment", "")
    with Image.open(path) as image:
        if path.suffix == ".tif":
            return str(image.tag_v2[270])  # type: ignore[attr-defined]
        comment = image.info.get("comment", image.info.get("Comment", ""))
        return comment.decode() if isinstance(comment, bytes) else str(comment)


@pytest.mark.parametrize("name", SETS)
def test_everything_says_that_it_is_synthetic(made: dict[str, Path], name: str) -> None:
    root = made[name]
    assert described(root)["synthetic"] is True
    assert "SYNTHETIC" in str(described(root)["notice"])
    assert "SYNTHETIC" in (root / "README.md").read_text()
    media = [path for path in root.rglob("*") if path.suffix in {".mp4", ".png", ".tif", ".jpg"}]
    media = [path for path in media if ".synth" not in path.parts]
    assert len(media) > CLIPS
    for path in media:
        assert "SYNTHETIC" in comment_of(path), path
    for path in (*root.rglob("annotations/*.json"), *root.glob("classes.json"), *root.glob("clips.json")):
        assert "SYNTHETIC" in path.read_text()
    for path in root.rglob("*.xml"):
        assert "SYNTHETIC" in path.read_text()


def test_the_share_of_polyps_is_what_was_asked_for_in_every_patient() -> None:
    settings = SetSettings(task="classification", clips=80, patients=8, positive=0.3, render=RenderConfig())
    plan = plan_set(settings)
    for patient in range(8):
        own = [clip.has_polyp for clip in plan if clip.patient == patient]
        assert len(own) == 10
        assert 2 <= sum(own) <= 4
    assert sum(clip.has_polyp for clip in plan) == pytest.approx(24, abs=1)
    longer = plan_set(SetSettings(task="classification", clips=100, patients=8, positive=0.3, render=RenderConfig()))
    assert longer[:80] == plan
    ten = split_patients(SetSettings(task="detection", clips=20, patients=10, positive=0.5))
    assert [ten.count(name) for name in ("train", "val", "test")] == [6, 2, 2]
    with pytest.raises(ConfigError, match="without sharing a patient"):
        SetSettings(task="detection", clips=8, patients=2, positive=0.5)
