"""The manifest of a job: written as often as its size allows, and whenever the job ends."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from endofm.errors import InputError
from endofm.inference.job_manifest import Entry, JobManifest, read_entries
from endofm.output_place import LocalFolder


def entry(number: int) -> Entry:
    return Entry(source=f"{number}.mp4", output=f"{number}.json", status="done", size_bytes=1, modified=1)


def test_a_manifest_that_takes_long_to_write_is_written_less_often(tmp_path: Path) -> None:
    written: list[str] = []

    def write(text: str) -> None:
        time.sleep(0.01)
        written.append(text)

    manifest = JobManifest(LocalFolder(tmp_path), write, {}, ())
    with manifest.kept():
        for number in range(100):
            manifest.record(entry(number))
        # In a tenth of a second it is written once.
        assert 1 <= len(written) <= 3
    assert written[-1].count('"source"') == 100


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
