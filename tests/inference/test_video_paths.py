"""Videos of paths and lists, and the names of their outputs."""

from __future__ import annotations

import os
from pathlib import Path
from uuid import uuid4

import pytest

from endofm.address import Address
from endofm.errors import InputError
from endofm.inference.video_paths import VideoItem, find_videos, read_list


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    for name in ("a/x_10.mp4", "a/x_9.mp4", "b/x_9.mp4", "b/.hidden.mp4", "stills/1.png", "stills/2.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_folders_are_searched_in_natural_order(recordings: Path) -> None:
    outputs = [item.output for item in find_videos([recordings])]
    assert outputs == ["a/x_9.mp4", "a/x_10.mp4", "b/x_9.mp4", "stills"]


def test_what_is_left_out_is_named(recordings: Path) -> None:
    (recordings / "a" / "damaged.dat").write_bytes(bytes(range(256)))
    (recordings / "damaged").mkdir()
    (recordings / "damaged" / "x.dat").write_bytes(bytes(range(256)))
    found = find_videos([recordings / "a", recordings / "stills"])
    assert [path for path, _ in found.left_out] == [str(recordings / "a" / "damaged.dat")]
    with pytest.raises(InputError, match=r"no videos and no images.*x\.dat: not a video"):
        find_videos([recordings / "damaged"])


def test_a_folder_of_images_is_one_video(recordings: Path) -> None:
    folder = recordings / "stills"
    assert find_videos([folder]) == [VideoItem(folder / ".", "stills")]


def test_two_videos_never_share_an_output(recordings: Path) -> None:
    first, second = recordings / "a" / "x_9.mp4", recordings / "b" / "x_9.mp4"
    (recordings / "link.mp4").symlink_to(first)
    assert len(find_videos([first, first, recordings / "a" / ".." / "a" / "x_9.mp4", recordings / "link.mp4"])) == 1
    assert [item.output for item in find_videos([first, second])] == ["a/x_9.mp4", "b/x_9.mp4"]
    # A folder's own name for a video is not taken away from it.
    (recordings / "c" / "a").mkdir(parents=True)
    (recordings / "c" / "a" / "x_9.mp4").touch()
    named = find_videos([recordings / "a", recordings / "c"], [first, second])
    assert len({item.output for item in named}) == len(named) == 4


def test_missing_and_empty_paths_are_named(recordings: Path) -> None:
    (recordings / "empty").mkdir()
    with pytest.raises(InputError, match="no such file or folder"):
        find_videos([recordings / "gone.mp4"])
    with pytest.raises(InputError, match="no videos and no images"):
        find_videos([recordings / "empty"])


def test_a_bad_entry_of_a_list_is_one_video_that_fails(recordings: Path) -> None:
    (recordings / "empty").mkdir()
    listed = [recordings / "gone.mp4", recordings / "empty", recordings / ("n" * 300), recordings / "a" / "x_9.mp4"]
    assert [item.output for item in find_videos([], listed)] == ["gone.mp4", "empty", "n" * 300, "x_9.mp4"]


def test_paths_of_a_list_start_at_its_folder(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes(b"\xef\xbb\xbf# comment\r\n\r\n  a, b/one.mp4  \r\n/absolute/two.mp4\r\n")
    assert read_list(tmp_path / "list.txt") == [tmp_path / "a, b/one.mp4", Path("/absolute/two.mp4")]
    (tmp_path / "table.csv").write_text('Label;"File Name"\npolyp;one.mp4\n')
    assert read_list(tmp_path / "table.csv") == [tmp_path / "one.mp4"]
    (tmp_path / "names.txt").write_bytes(b"l\xe9.mp4\n")
    assert [os.fsencode(path.name) for path in read_list(tmp_path / "names.txt")] == [b"l\xe9.mp4"]
    with pytest.raises(InputError, match="cannot be read"):
        read_list(tmp_path / "gone.txt")


def test_addresses_are_those_of_objects_or_of_what_holds_them(tmp_path: Path) -> None:
    memory = pytest.importorskip("fsspec").filesystem("memory")
    root = f"memory://{uuid4().hex}"
    for name in ("in/a/x.mp4", "in/b/x.mp4", "in/list", "texts/a.txt"):
        memory.pipe(f"{root}/{name}", b"1")
    found = find_videos([f"{root}/in", f"{root}/in/b/x.mp4"])
    assert [item.output for item in found] == ["a/x.mp4", "b/x.mp4"]
    assert [path for path, _ in found.left_out] == [f"{root}/in/list"]
    # An address of a video is not asked for before the work.
    assert [item.output for item in find_videos([f"{root}/no.mp4", "https://127.0.0.1:1/no"])] == ["no.mp4", "no"]
    with pytest.raises(InputError, match="there are no videos and no images"):
        find_videos([f"{root}/texts"])
    assert [item.output for item in find_videos([], [Address(f"{root}/texts")])] == ["texts"]
    (tmp_path / "x.mp4").write_bytes(b"1")
    assert find_videos([f"file://{tmp_path}"]) == [VideoItem(tmp_path / "x.mp4", "x.mp4")]
