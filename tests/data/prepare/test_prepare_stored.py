"""Preparation of clips from the videos below an address: the clips and rows of a folder, whatever the store does."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import pytest

from endofm.cli.main import main
from helpers.s3_store import S3Store, s3_store
from helpers.video_makers import write_clip

ADDRESS = "s3://archive/videos"


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Store]:
    with s3_store(monkeypatch) as found:
        yield found


@pytest.fixture
def folder(store: S3Store, tmp_path: Path) -> Path:
    """Two videos and a note in a folder and in the store; the second video is read in several requests."""
    root = tmp_path / "videos"
    (root / "a").mkdir(parents=True)
    write_clip(root / "a" / "one.mp4", numbers=range(12), fps=5)
    write_clip(root / "two.mkv", numbers=range(600), size=(384, 256), options={"crf": "0", "preset": "ultrafast"})
    (root / "other").write_bytes(b"not a video")
    for path in root.rglob("*"):
        if path.is_file():
            store.put(f"videos/{path.relative_to(root).as_posix()}", path.read_bytes())
    return root


def prepare(source: str | Path, out: str | Path) -> int:
    return main(["data", "prepare", "folder", str(source), str(out), "--clip-frames", "100", "--jobs", "1"])


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "manifest.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_clips_from_a_store_are_those_of_the_folder(
    store: S3Store, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there, here = tmp_path / "there", tmp_path / "here"
    assert main(["data", "prepare", "folder", ADDRESS, str(there), "--dry-run"]) == 0
    said = capsys.readouterr()
    assert [line.split("\t")[0] for line in said.out.splitlines()] == ["a/one.mp4", "two.mkv"]
    assert "in 2 sources" in said.err
    assert prepare(ADDRESS, there) == 0
    assert "other: its name does not say that this is a video" in capsys.readouterr().err
    assert prepare(folder, here) == 0
    assert len(rows(there)) == 7
    assert rows(there) == rows(here)
    for row in rows(there):
        assert (there / row["path"]).read_bytes() == (here / row["path"]).read_bytes()
    assert f'"source": "{ADDRESS}"' in (there / "prepare.json").read_text()
    # Nothing twice; a changed object is cut again.
    kept = {row["path"]: (there / row["path"]).stat().st_mtime_ns for row in rows(there)}
    store.put("videos/a/one.mp4", (folder / "two.mkv").read_bytes())
    assert prepare(ADDRESS, there) == 0
    again = [row for row in rows(there) if (there / row["path"]).stat().st_mtime_ns != kept.get(row["path"])]
    assert {row["source"] for row in again} == {"a/one.mp4"}
    assert len(rows(there)) == 12


def test_what_a_store_does_not_deliver_is_no_shorter_video(
    store: S3Store, folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert prepare(folder, tmp_path / "whole") == 0
    out = tmp_path / "clips"
    # Both open, and then the connection is cut for good.
    reads = 4
    store.faults, store.lasting = [*["none"] * reads, "cut"], True
    assert prepare(ADDRESS, out) == 1
    assert store.reads > reads
    said = capfd.readouterr().err
    assert "two.mkv: reading failed" in said
    assert "Traceback" not in said
    assert not any(row["source"] == "two.mkv" for row in rows(out))
    store.faults = []
    assert prepare(ADDRESS, out) == 0
    assert rows(out) == rows(tmp_path / "whole")


def test_a_store_that_goes_down_ends_the_job_with_one_sentence(
    store: S3Store, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Otherwise the store's package tries for two minutes.
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setattr(pytest.importorskip("s3fs").S3FileSystem, "retries", 1)
    out = tmp_path / "clips"
    store.faults = [*["none"] * 4, "down"]
    assert prepare(ADDRESS, out) == 1
    assert "two.mkv: its store does not answer; finished clips are kept" in capsys.readouterr().err
    store.down = False
    assert prepare(ADDRESS, out) == 0
    assert len(rows(out)) == 7


def test_addresses_that_hold_nothing_to_prepare(
    store: S3Store, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "clips"
    assert prepare(f"{ADDRESS}/nothing", out) == 1
    assert main(["data", "prepare", "kumc", ADDRESS, str(out)]) == 1
    assert prepare("https://127.0.0.1:1/videos", out) == 1
    assert prepare(folder, "s3://archive/clips") == 1
    said = capsys.readouterr().err
    assert f"{ADDRESS}/nothing: there is nothing below this address" in said
    assert "this is only read from a folder of this machine" in said
    assert "a web server does not list what is below an address" in said
    assert "this command writes to a folder of this machine" in said
    assert not out.exists()
