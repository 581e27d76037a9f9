"""Atomic writing, and the message for a place that cannot be written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from endofm.errors import InputError
from endofm.files import PARTIAL_PREFIX, atomic_path, require_writable, write_text

UNWRITABLE = [
    pytest.param("file/out", id="below-a-file"),
    pytest.param("file/below/out.json", id="far-below-a-file"),
    pytest.param("/proc/out", id="proc", marks=pytest.mark.skipif(not Path("/proc/1").exists(), reason="no /proc")),
    pytest.param("a" * 300 + "/out", id="too-long"),
]
"""Paths that even an administrator cannot write; ``file`` is to be a file of the folder."""


@pytest.mark.parametrize("target", UNWRITABLE)
def test_an_unwritable_target_is_named_before_and_while_writing(target: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        require_writable(tmp_path / target)
    with pytest.raises(InputError, match="cannot be written"), atomic_path(tmp_path / target):
        pytest.fail("nothing should be computed")


def test_a_folder_without_permission_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        if os.access(tmp_path, os.W_OK):
            pytest.skip("an administrator may write anywhere")
        with pytest.raises(InputError, match="Permission denied"):
            require_writable(tmp_path / "new" / "out.json")
    finally:
        tmp_path.chmod(0o700)


def test_asking_creates_nothing(tmp_path: Path) -> None:
    (tmp_path / "old.json").write_text("old")
    for target in (tmp_path, tmp_path / "old.json", tmp_path / "new" / "folder" / "out.json"):
        require_writable(target)
    assert [path.name for path in tmp_path.iterdir()] == ["old.json"]
    assert (tmp_path / "old.json").read_text() == "old"


def test_a_file_appears_when_it_is_complete(tmp_path: Path) -> None:
    target = tmp_path / "below" / "out.json"
    with atomic_path(target) as temporary:
        assert temporary.name.startswith(PARTIAL_PREFIX)
        # Some writers refuse an existing file, and one that writes nothing must not leave an empty one.
        assert not temporary.exists()
        temporary.write_text("{}")
        assert not target.exists()
    assert target.read_text() == "{}"
    with pytest.raises(TypeError), atomic_path(target) as temporary:
        temporary.write_bytes("no bytes")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="cannot be written"), atomic_path(target):
        pass
    assert [path.name for path in target.parent.iterdir()] == ["out.json"]
    assert target.read_text() == "{}"


def test_a_folder_in_the_place_of_the_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "out.json").mkdir()
    with (
        pytest.raises(InputError, match=r"out\.json: cannot be written"),
        atomic_path(tmp_path / "out.json") as temporary,
    ):
        temporary.write_text("{}")


def test_an_address_is_no_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="not to an address"):
        write_text("s3://archive/x.txt", "")
    assert not list(tmp_path.iterdir())
