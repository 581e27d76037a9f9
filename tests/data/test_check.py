"""Planted damage, copies and overlap are found, and nothing else is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from endofm.data.check import CheckFinding, CheckReport, check
from endofm.data.listing import read_clips
from endofm.data.manifest import read_manifest
from endofm.data.perceptual_hashes import (
    MATCH_BITS,
    differing_bits,
    read_hashes,
)
from endofm.data.prepare.catalogue import find_set
from endofm.data.prepare.clip_format import ClipFormat
from endofm.data.prepare.preparation import prepare
from endofm.errors import InputError
from endofm.video.writer import write_video
from helpers import made_sets
from helpers.made_sets import make_video, picture, pictures
from helpers.video_makers import write_clip

CLIPS = ClipFormat(clip_frames=30, short_side=64)


def prepared(source: Path, out: Path, name: str = "folder") -> Path:
    prepare(find_set(name), source, out, clip_format=CLIPS, jobs=1, progress=False)
    return out


def quick(out: Path, *against: Path) -> CheckReport:
    return check(out, against, jobs=1, progress=False)


def kinds(report: CheckReport) -> list[tuple[str, str, str]]:
    """Return kind and file names of the findings."""
    return [(f.kind, Path(f.clip).name, Path(f.other).name if f.other else "") for f in report.findings]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sources of four recordings of three clips each."""
    folder = tmp_path_factory.mktemp("base")
    for number in range(4):
        make_video(folder / f"{number}.mp4", 200 + number, 90)
    return folder


@pytest.fixture
def out(base: Path, tmp_path: Path) -> Path:
    return prepared(base, tmp_path / "out")


def test_a_sound_set_passes(out: Path) -> None:
    report = quick(out)
    assert report.findings == ()
    assert report.clips == 12


def test_missing_damaged_and_unlisted(out: Path) -> None:
    (out / "00001.mp4").unlink()
    data = bytearray((out / "00002.mp4").read_bytes())
    data[len(data) // 2] ^= 0xFF
    (out / "00002.mp4").write_bytes(data)
    (out / "00003.mp4").write_bytes(b"")
    make_video(out / "extra.mp4", 300, 5)
    result = subprocess.run([sys.executable, "-m", "endofm", "data", "check", str(out)], capture_output=True, text=True)
    assert result.returncode == 1, result.stderr
    stored = json.loads((out / "check.json").read_text())
    found = {(f["kind"], Path(f["clip"]).name) for f in stored["findings"]}
    assert found == {
        ("missing", "00001.mp4"),
        ("damaged", "00002.mp4"),
        ("damaged", "00003.mp4"),
        ("unlisted", "extra.mp4"),
    }
    for name in ("00001.mp4", "00002.mp4", "00003.mp4", "extra.mp4"):
        assert name in result.stdout


def test_copies_within_a_set(base: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for path in base.iterdir():
        (source / path.name).write_bytes(path.read_bytes())
    (source / "copy.mp4").write_bytes((base / "1.mp4").read_bytes())
    # The same recording, smaller, slower, in another codec, and cut 13 frames later.
    again = [np.asarray(Image.fromarray(frame).resize((72, 54))) for frame in pictures(203, 77, first=13)]
    write_video(source / "recoded.mp4", again, 12.5, codec="mpeg4")
    out = prepared(source, tmp_path / "out")
    of = {row.path: row.source for row in read_manifest(out / "manifest.csv")}
    pairs = {(kind, *sorted((of[clip], of[other]))) for kind, clip, other in kinds(quick(out))}
    # A slow recording resembles itself a moment later, so that neighbouring clips of a copy may be named too.
    assert pairs >= {("duplicate", "1.mp4", "copy.mp4"), ("near-duplicate", "3.mp4", "recoded.mp4")}
    assert {pair[1:] for pair in pairs} == {("1.mp4", "copy.mp4"), ("3.mp4", "recoded.mp4")}


def test_overlap_of_pretraining_and_downstream(base: Path, out: Path, tmp_path: Path) -> None:
    made_sets.polypdiag(tmp_path / "polypdiag")
    # One video of the downstream set is a recording of the pre-training set, coded anew at another size.
    shown = [np.asarray(Image.fromarray(frame).resize((128, 96))) for frame in pictures(202, 90)]
    write_video(tmp_path / "polypdiag" / "videos" / "a.mp4", shown, 25)
    downstream = prepared(tmp_path / "polypdiag", tmp_path / "prepared", "polypdiag")
    of = {row.path: row.source for row in read_manifest(out / "manifest.csv")}
    report = quick(out, downstream)
    found = [(kind, of[clip], other) for kind, clip, other in kinds(report)]
    assert found == [("overlap", "2.mp4", "a.mp4")] * 3
    assert all(f.fraction == 1.0 for f in report.findings)
    # Found also against the plain folder that has no manifest, from the other side, and between sets of one folder.
    assert len(quick(out, tmp_path / "polypdiag" / "videos").findings) == 3
    assert len(quick(downstream, out).findings) == 3
    both = tmp_path / "both"
    both.mkdir()
    out.rename(both / "pretraining")
    downstream.rename(both / "polypdiag")
    assert {kind for kind, _, _ in kinds(quick(both))} == {"overlap"}
    (tmp_path / "empty").mkdir()
    assert quick(both / "pretraining", tmp_path / "empty").findings == ()


def test_a_manifest_without_what_was_found(base: Path, out: Path, tmp_path: Path) -> None:
    rows = read_manifest(out / "manifest.csv")
    (out / rows[0].path).unlink()
    other = tmp_path / "other"
    other.mkdir()
    (other / "shared.mp4").write_bytes((base / "3.mp4").read_bytes())
    base_command = [sys.executable, "-m", "endofm", "data", "check", str(out), "--jobs", "1", "--write-clean"]
    result = subprocess.run([*base_command, "--against", str(other)], capture_output=True, text=True)
    assert result.returncode == 1
    kept = read_manifest(out / "clean.csv")
    assert kept == [row for row in rows[1:] if row.source != "3.mp4"]
    assert f"{len(kept)} clips, 4 left out" in result.stdout
    assert read_manifest(out / "manifest.csv") == rows, "the manifest stays"
    assert len(read_clips(out / "clean.csv")) == len(kept)


def test_frame_folders_are_checked_like_files(tmp_path: Path) -> None:
    made_sets.cvc(tmp_path / "source", range(1, 51))
    out = prepared(tmp_path / "source", tmp_path / "out", "cvc-12k")
    assert quick(out).findings == ()
    Image.fromarray(picture(1, 7)).save(out / "frames" / "001-025" / "7.png")
    (out / "frames" / "026-050" / "30.png").unlink()
    assert kinds(quick(out)) == [("damaged", "001-025", ""), ("damaged", "026-050", "")]


def test_hashes_are_made_where_there_are_none(out: Path) -> None:
    rows = read_manifest(out / "manifest.csv")
    stored = read_hashes(out, rows)
    assert stored is not None
    (out / "hashes.npz").unlink()
    assert quick(out).findings == ()
    again = read_hashes(out, rows)
    assert again is not None
    assert len(again.hashes) == len(stored.hashes)
    # Those of the preparation are of the frames before coding.
    assert differing_bits(again.hashes, stored.hashes).max() <= MATCH_BITS
    assert read_hashes(out, rows[:-1]) is None, "hashes of other clips are not taken"
    (out / "hashes.npz").write_bytes(b"PK\x03\x04 damaged")
    assert read_hashes(out, rows) is None


def test_what_is_no_clip_is_named_and_no_finding(tmp_path: Path) -> None:
    write_clip(tmp_path / "recording", numbers=range(4), container_format="mp4")
    (tmp_path / "unknown.rec").write_bytes(bytes(range(256)))
    (tmp_path / "damaged.h264").write_bytes(np.random.default_rng(0).bytes(500))
    report = quick(tmp_path)
    assert report.clips == 2
    assert kinds(report) == [("damaged", "damaged.h264", "")]
    assert [path for path, _ in report.left_out] == [str(tmp_path / "unknown.rec")]


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        quick(tmp_path / "gone")


def test_findings_are_counted_by_kind() -> None:
    report = CheckReport(
        "x", 3, (), (CheckFinding("overlap", "a"), CheckFinding("missing", "b"), CheckFinding("overlap", "c"))
    )
    assert report.counts() == {"missing": 1, "overlap": 2}
