"""Adding to a library that is killed at any point, and by two processes at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from huggingface_hub.utils import WeakFileLock

from endofm import FeatureLibrary
from endofm.errors import JobError
from helpers.made_library import write_recordings
from helpers.stored_copy import stored_copy

# Recordings are written one by one, and the process is killed without warning at a call of one method.
_KILLED = """
import os, signal, sys
from endofm import FeatureLibrary
from endofm.library import adding, store
adding._BATCH_RECORDINGS = 1
place, nth = sys.argv[3], int(sys.argv[4])
def kill(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)
calls = 0
def counted(original):
    def method(self, *args, **kwargs):
        global calls
        calls += 1
        if calls == nth:
            if place == "append":  # between the two tables
                self._tables["recordings"] = type("Killer", (), {"add": kill})()
            elif place == "recalibrate":  # when half of the clips are written
                store._clip_batch = kill
            elif place == "create":
                self._write_clips = kill
            else:
                kill()
        return original(self, *args, **kwargs)
    return method
setattr(store.LibraryStore, place, counted(getattr(store.LibraryStore, place)))
FeatureLibrary(sys.argv[1]).add(sys.argv[2], progress=False)
"""


@pytest.mark.parametrize(
    ("place", "nth", "kept"),
    [("create", 1, 0), ("append", 3, 2), ("recalibrate", 1, 6), ("finish", 1, 6)],
)
def test_a_killed_process_is_resumed_by_the_same_call(tmp_path: Path, place: str, nth: int, kept: int) -> None:
    folder, features = tmp_path / "a.lance", write_recordings(tmp_path / "features", 2)
    if place == "recalibrate":
        FeatureLibrary(folder).add(features, progress=False)
    write_recordings(features, 6)
    command = [sys.executable, "-c", _KILLED, str(folder), str(features), place, str(nth)]
    assert subprocess.run(command, check=False).returncode == -9
    library = FeatureLibrary(folder)
    assert len(library.recordings) == kept
    report = library.add(features, progress=False)
    assert len(report.added) == 6 - kept
    assert (len(library), len(library.recordings)) == (72, 6)
    whole = FeatureLibrary(tmp_path / "whole.lance")
    whole.add(features, progress=False)
    found = [[(hit.recording.name, hit.start_seconds) for hit in one.search("3.mp4@1", 20)] for one in (library, whole)]
    assert found[0] == found[1]


def test_two_processes_never_write_at_once(tmp_path: Path) -> None:
    library = FeatureLibrary(tmp_path / "a.lance")
    library.add(write_recordings(tmp_path / "features", 1), progress=False)
    with WeakFileLock(tmp_path / "a.lance" / ".endofm-lock"), pytest.raises(JobError, match="another process"):
        library.add(tmp_path / "features", progress=False)


def test_a_reader_sees_what_another_process_adds(tmp_path: Path) -> None:
    writer = FeatureLibrary(tmp_path / "a.lance")
    writer.add(write_recordings(tmp_path / "features", 2), progress=False)
    reader = FeatureLibrary(tmp_path / "a.lance")
    assert len(reader.search("0.mp4@1", 100)) == 12
    writer.add(write_recordings(tmp_path / "more", 1, first=5), progress=False)
    assert len(reader.search("0.mp4@1", 100)) == 24


def test_features_in_a_store_are_added_as_those_of_a_folder(tmp_path: Path) -> None:
    features = write_recordings(tmp_path / "features", 3)
    address = stored_copy(features)
    libraries = FeatureLibrary(tmp_path / "a.lance"), FeatureLibrary(tmp_path / "b.lance")
    for library, source in zip(libraries, (features, address), strict=True):
        assert len(library.add(source, progress=False).added) == 3
        assert library.add(source, progress=False).skipped == 3
    found = [[(hit.recording.name, hit.start_seconds) for hit in one.search("1.mp4@1", 20)] for one in libraries]
    assert found[0] == found[1]
    recording = libraries[1].recordings[0]
    assert recording.features.startswith(f"{address}/")
    assert recording.set == libraries[0].recordings[0].set
    one = FeatureLibrary(tmp_path / "c.lance")
    assert [each.features for each in one.add(recording.features, progress=False).added] == [recording.features]
