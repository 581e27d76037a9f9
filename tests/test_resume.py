"""Output folders: one process at a time, one set of settings, sources that are seen to change."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest

from endofm.address import Address, objects_below
from endofm.errors import InputError, JobError
from endofm.resume import LOCK_NAME, exclusive, file_state, require_same_settings


def test_a_second_process_is_refused_and_a_killed_one_is_not_in_the_way(tmp_path: Path) -> None:
    code = (
        "import sys, time\nfrom endofm.resume import exclusive\n"
        "with exclusive(sys.argv[1]):\n    print('held', flush=True)\n    time.sleep(60)\n"
    )
    folder = tmp_path / "out"
    holder = subprocess.Popen([sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(JobError, match="another process is writing"), exclusive(folder):
        pass
    holder.kill()
    holder.wait()
    with exclusive(folder):
        assert (folder / LOCK_NAME).exists()


def test_what_a_killed_process_left_half_written_is_removed(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    half, whole = tmp_path / "below" / ".partial-1234-a.json", tmp_path / "below" / "a.json"
    half.write_text("{")
    whole.write_text("{}")
    with exclusive(tmp_path):
        assert not half.exists()
        assert whole.exists()


def test_a_file_in_the_place_of_the_folder_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(InputError, match="cannot be created"), exclusive(tmp_path / "out"):
        pass


def test_other_settings_are_named_with_both_values() -> None:
    stored = {"a": 1, "nested": {"b": [1, 2], "c": {}}}
    require_same_settings("out", stored, {"a": 1, "nested": {"b": (1, 2), "c": {}}}, remedy="pass --overwrite")
    with pytest.raises(JobError, match=r"nested\.b was \[1, 2\] and is now \[1\]") as error:
        require_same_settings("out", stored, {"a": 1, "nested": {"b": [1]}}, remedy="pass --overwrite")
    assert "a was" not in str(error.value)
    assert "nested.c was {} and is now None" in str(error.value)


def test_a_changed_source_has_another_state(tmp_path: Path) -> None:
    file = tmp_path / "video.mp4"
    assert file_state(file) == (-1, 0)
    file.write_bytes(b"1")
    before = file_state(file)
    file.write_bytes(b"12")
    assert file_state(file) != before
    assert file_state(tmp_path)[0] == -1


def test_the_state_of_a_listed_object_is_that_of_the_list_until_it_is_asked_for_anew() -> None:
    memory = pytest.importorskip("fsspec").filesystem("memory")
    url = f"memory://{uuid4().hex}/in"
    memory.pipe(f"{url}/x.mp4", b"1")
    (state,) = objects_below(Address(url)).values()
    listed = Address(f"{url}/x.mp4", listed=state)
    memory.pipe(f"{url}/x.mp4", b"22")
    assert file_state(listed) == tuple(state)
    assert file_state(listed, anew=True)[0] == 2
