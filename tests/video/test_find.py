"""Natural order, and videos and image folders below a folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from endofm.video.find import naturally, walk


@given(st.lists(st.integers(0, 10**6), unique=True))
def test_numbers_count_as_numbers(numbers: list[int]) -> None:
    assert naturally(f"img_{n}.png" for n in numbers) == [f"img_{n}.png" for n in sorted(numbers)]


@given(st.lists(st.text(max_size=8)))
def test_any_name_can_be_ordered(names: list[str]) -> None:
    # A raised two is a digit to Python, and not a number.
    assert sorted(naturally([*names, "scan²", "scan2"])) == sorted([*names, "scan²", "scan2"])


def test_videos_and_folders_of_frames(tmp_path: Path) -> None:
    for name in ("b/10.mp4", "b/9.MP4", "b/.hidden.mp4", ".hidden/x.mp4", "frames/1.png", "notes.txt", "top.avi"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert walk(tmp_path) == (["b/9.MP4", "b/10.mp4", "top.avi"], ["frames"])


@pytest.mark.parametrize("links", [1, 2])
def test_a_folder_that_links_to_itself_is_searched_once(tmp_path: Path, links: int) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "video.mp4").touch()
    for index in range(links):
        (tmp_path / "a" / "b" / f"link{index}").symlink_to("..")
        (tmp_path / f"z{index}").symlink_to("a")
    assert walk(tmp_path) == (["a/b/video.mp4"], [])
