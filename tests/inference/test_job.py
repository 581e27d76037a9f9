"""Batch job over stand-in videos: results of any task, failures, restarts, settings and the manifest."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from endofm.errors import InputError, JobError, VideoError
from endofm.inference.job import ItemResult, JobFolder, JobReport, run_job, run_shared_job
from endofm.inference.job_manifest import read_entries
from endofm.inference.video_paths import VideoItem
from endofm.output_place import LocalFolder
from endofm.pool import LocalEngine
from endofm.resume import MANIFEST_NAME


def copy_upper(item: VideoItem, targets: tuple[Path, ...]) -> ItemResult:
    """Stand-in for a task: write the source in upper case; a source that says "bad" cannot be read."""
    text = item.path.read_text()
    if "bad" in text:
        raise VideoError(f"{item.path}: cannot be decoded")
    if "bug" in text:
        raise TypeError("unforeseen")
    if "full" in text:
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError as error:
            raise VideoError(f"{item.path}: cannot be written") from error
    for target in targets:
        target.write_text(text.upper())
    return ItemResult(summary={"letters": len(text), "status": "a task cannot change this"}, problems=("noise",))


@pytest.fixture
def items(tmp_path: Path) -> list[VideoItem]:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("one", "two"):
        (folder / name).write_text(name)
    return [VideoItem(folder / name, name) for name in ("two", "one")]


def run(items: list[VideoItem], out: Path, **options: Any) -> JobReport:
    options = {"suffixes": (".txt",), "settings": {"level": "clip"}, **options}
    return run_job(items, out, copy_upper, progress=False, **options)


@pytest.mark.parametrize("jobs", [1, 2])
def test_the_manifest_holds_what_the_task_returned(items: list[VideoItem], tmp_path: Path, jobs: int) -> None:
    report = run(items, tmp_path / "out", engine=LocalEngine(jobs))
    assert [entry.output for entry in report.entries] == ["two.txt", "one.txt"]
    assert (report.skipped, report.failed) == (0, ())
    manifest = json.loads((tmp_path / "out" / MANIFEST_NAME).read_text())
    assert manifest["settings"] == {"level": "clip"}
    row = manifest["videos"][0]
    assert (row["output"], row["status"], row["letters"], row["problems"]) == ("one.txt", "done", 3, ["noise"])
    assert {entry.summary["letters"] for entry in read_entries(tmp_path / "out")} == {3}


def test_only_missing_and_changed_videos_are_processed_again(items: list[VideoItem], tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(items, out)
    assert run(items, out).skipped == 2
    (out / "one.txt").unlink()
    assert run(items, out).skipped == 1
    items[0].path.write_text("longer")
    assert run(items, out).skipped == 1
    assert (out / "two.txt").read_text() == "LONGER"


def test_a_video_is_done_when_all_of_its_files_exist(items: list[VideoItem], tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(items, out)
    assert run(items, out, suffixes=(".txt", ".png")).skipped == 0
    assert run(items, out, suffixes=(".txt", ".png")).skipped == 2


def test_failures_are_recorded_and_do_not_stop_the_others(items: list[VideoItem], tmp_path: Path) -> None:
    items[0].path.write_text("bad")
    report = run(items, tmp_path / "out")
    (failed,) = report.failed
    assert failed.error.endswith("two: cannot be decoded")
    items[0].path.write_text("bug")
    (failed,) = run(items, tmp_path / "out").failed
    assert "unexpected TypeError: unforeseen" in failed.error
    assert [entry.output for entry in read_entries(tmp_path / "out")] == ["one.txt"]


def test_other_settings_are_refused_once_something_is_done(items: list[VideoItem], tmp_path: Path) -> None:
    out = tmp_path / "out"
    for item in items:
        item.path.write_text("bad")
    assert len(run(items, out).failed) == 2
    items[0].path.write_text("two")
    assert len(run(items, out, settings={"level": "frame"}).failed) == 1, "nothing was done with the first settings"
    with pytest.raises(JobError, match=r"level was 'frame' and is now 'clip'.*--overwrite"):
        run(items, out)
    assert run(items, out, overwrite=True).skipped == 0
    assert json.loads((out / MANIFEST_NAME).read_text())["settings"] == {"level": "clip"}


def test_foreign_manifests_and_wrong_arguments_are_refused(items: list[VideoItem], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="jobs must be at least 1, got 0"):
        run(items, tmp_path / "out", engine=LocalEngine(0))
    assert not (tmp_path / "out").exists()
    (tmp_path / MANIFEST_NAME).write_text("[]")
    with pytest.raises(InputError, match="not the manifest of an endofm command"):
        run(items, tmp_path)
    with pytest.raises(InputError, match="not the manifest"):
        read_entries(tmp_path / "nowhere")


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_full_disk_stops_the_job_and_keeps_what_is_finished(
    items: list[VideoItem], tmp_path: Path, jobs: int
) -> None:
    run(items[:1], tmp_path / "out")
    items[1].path.write_text("full")
    with pytest.raises(JobError, match="the disk is full; finished videos are kept"):
        run(items, tmp_path / "out", engine=LocalEngine(jobs))
    assert [entry.output for entry in read_entries(tmp_path / "out")] == ["two.txt"]
    items[1].path.write_text("one")
    assert run(items, tmp_path / "out").failed == ()


def test_a_name_that_is_not_utf8_is_an_ordinary_name(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.avi")
    path.write_text("abc")
    report = run([VideoItem(path, path.name)], tmp_path / "out")
    assert report.failed == ()
    assert run([VideoItem(path, path.name)], tmp_path / "out").skipped == 1


def copy_to_all(item: VideoItem, targets: Mapping[int, tuple[Path, ...]]) -> dict[int, ItemResult]:
    """Stand-in for several models at once; the second cannot take a source that says "two"."""
    text = item.path.read_text()
    if 1 in targets and "two" in text:
        raise VideoError(f"{item.path}: not for the second")
    for index, (target,) in targets.items():
        target.write_text(f"{index} {text} of {sorted(targets)}")
    return {index: ItemResult(summary={"letters": len(text)}) for index in targets}


@pytest.mark.parametrize("jobs", [1, 2])
def test_several_folders_are_each_a_job_of_their_own(items: list[VideoItem], tmp_path: Path, jobs: int) -> None:
    folders = [
        JobFolder(out=LocalFolder(tmp_path / name), suffixes=(".txt",), settings={"model": name}) for name in "abc"
    ]
    (tmp_path / "a").mkdir()
    run([items[1]], tmp_path / "a", settings={"model": "a"})
    reports = run_shared_job(items, folders, copy_to_all, engine=LocalEngine(jobs), progress=False)
    assert [report.skipped for report in reports] == [1, 0, 0]
    # The second fails on one video, which does not take it from the others; what was done before is kept.
    assert [[entry.status for entry in report.entries] for report in reports] == [
        ["done", "done"],
        ["failed", "done"],
        ["done", "done"],
    ]
    assert (tmp_path / "a" / "one.txt").read_text() == "ONE"
    assert (tmp_path / "b" / "one.txt").read_text() == "1 one of [1, 2]"
    assert (tmp_path / "c" / "two.txt").read_text() == "2 two of [2]"
    for name in "ac":
        assert run(items, tmp_path / name, settings={"model": name}).skipped == 2
    with pytest.raises(JobError, match="model was 'b'"):
        run(items, tmp_path / "b", settings={"model": "other"})
