"""Files are the same whatever their paths, and so are copies of them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from endofm.data.same_files import identities, join_groups, real_paths


def test_paths_to_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.mp4").touch()
    (tmp_path / "linked").symlink_to(tmp_path / "real")
    (tmp_path / "a.mp4").symlink_to("real/a.mp4")
    monkeypatch.chdir(tmp_path)
    paths = ["real/a.mp4", "./real/../real/a.mp4", tmp_path / "real/a.mp4", "linked/a.mp4", "a.mp4"]
    assert set(real_paths([Path(path) for path in paths])) == {str(tmp_path / "real" / "a.mp4")}
    assert len(real_paths([Path("gone.mp4"), Path("n" * 300), Path("a\0b")])) == 3


def test_copies_are_found_by_content(tmp_path: Path) -> None:
    content = os.urandom(200_000)
    changed = bytearray(content)
    changed[100_000] ^= 1  # Neither at the beginning nor at the end.
    for name, data in {"a": content, "copy": content, "other": bytes(changed), "empty": b"", "void": b""}.items():
        (tmp_path / name).write_bytes(data)
    for folder, last in (("f", b"2"), ("g", b"2"), ("h", b"3")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "1.png").write_bytes(b"1")
        (tmp_path / folder / "2.png").write_bytes(last)
    names = ["a", "copy", "other", "empty", "void", "f", "g", "h", "gone", "lost"]
    found = [Path(name).name for name in identities([tmp_path / name for name in names])]
    assert found == ["a", "a", "other", "empty", "void", "f", "f", "h", "gone", "lost"]


def test_groups_with_a_common_file_become_one() -> None:
    groups = ["p1", "p2", "p2", "p3", "p4"]
    assert join_groups(groups, ["a", "a", "b", "b", "c"]) == ["p1", "p1", "p1", "p1", "p4"]
    assert join_groups(groups, list("abcde")) == groups
