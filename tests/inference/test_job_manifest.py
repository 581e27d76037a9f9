"""The manifest of a job: written as often as its size allows, and whenever the job ends."""

from __future__ import annotations

import json
import time
import tracemalloc
from collections.abc import Iterable
from pathlib import Path

import pytest

from endofm.errors import InputError, JobError
from endofm.inference.job_manifest import Entry, JobManifest, read_entries
from endofm.output_place import LocalFolder


def entry(number: int) -> Entry:
    return Entry(source=f"{number}.mp4", output=f"{number}.json", status="done", size_bytes=1, modified=1)


def test_a_manifest_that_takes_long_to_write_is_written_less_often(tmp_path: Path) -> None:
    written: list[str] = []

    def write(pieces: Iterable[str]) -> None:
        time.sleep(0.01)
        written.append("".join(pieces))

    manifest = JobManifest(LocalFolder(tmp_path), write, {}, ())
    with manifest.kept():
        for number in range(100):
            manifest.record(entry(number))
        # In a tenth of a second it is written once.
        assert 1 <= len(written) <= 3
    assert written[-1].count('"source"') == 100


def test_a_long_manifest_is_not_in_memory_as_a_whole(tmp_path: Path) -> None:
    place = LocalFolder(tmp_path)
    with place.exclusive() as write:
        manifest = JobManifest(place, write, {"clip": {"seconds": 4.0}}, [("notes.txt", "not a video")])
        manifest.entries = {f"{number}.json": entry(number) for number in range(20_000)}
        tracemalloc.start()
        manifest.write()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    text = (tmp_path / "manifest.json").read_text()
    assert peak < len(text) / 4
    assert json.loads(text)["left_out"] == [{"path": "notes.txt", "reason": "not a video"}]
    assert len(text.splitlines()) < 20_100
    assert read_entries(tmp_path) == [manifest.entries[output] for output in sorted(manifest.entries)]


def killed_after(place: LocalFolder, count: int, settings: dict[str, str]) -> None:
    """Leave what a killed job of so many videos does, which has written its manifest only after the first one."""
    with place.exclusive() as write:
        manifest = JobManifest(place, write, settings, ())
        manifest.record(entry(0))
        manifest._next_write = time.monotonic() + 60
        for number in range(1, count):
            manifest.record(entry(number))


def test_a_killed_job_loses_no_row(tmp_path: Path) -> None:
    place = LocalFolder(tmp_path)
    killed_after(place, 20, {"weights": "a"})
    assert (tmp_path / "manifest.json").read_text().count('"source"') == 1
    rows = tmp_path / ".endofm-rows"
    rows.write_bytes(rows.read_bytes() + b'{"source": "20.mp4", "outp')
    found = [entry(number) for number in range(20)]
    assert read_entries(tmp_path) == found
    with place.exclusive() as write:
        manifest = JobManifest(place, write, {"weights": "a"}, ())
        manifest.resume()
        with manifest.kept():
            assert list(manifest.entries.values()) == found
            manifest.record(entry(20))
    assert not rows.exists()
    assert len(read_entries(tmp_path)) == 21


def test_rows_of_other_settings_do_not_outlive_their_manifest(tmp_path: Path) -> None:
    place = LocalFolder(tmp_path)
    killed_after(place, 20, {"weights": "a"})
    with pytest.raises(JobError, match="holds the results of other settings"), place.exclusive() as write:
        JobManifest(place, write, {"weights": "b"}, ()).resume()
    assert len(read_entries(tmp_path)) == 20

    def refuse(pieces: Iterable[str]) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError), place.exclusive():
        JobManifest(place, refuse, {"weights": "b"}, ()).record(entry(7))
    assert len(read_entries(tmp_path)) == 1


def test_an_interrupted_job_keeps_the_rows_of_what_it_has_finished(tmp_path: Path) -> None:
    place = LocalFolder(tmp_path)

    def interrupted() -> None:
        with place.exclusive() as write:
            manifest = JobManifest(place, write, {}, ())
            with manifest.kept():
                for number in range(20):
                    manifest.record(entry(number))
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert len(read_entries(tmp_path)) == 20
    with pytest.raises(InputError, match="this is not the manifest of an endofm command"):
        read_entries(tmp_path / "nothing")
