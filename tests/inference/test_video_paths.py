"""Videos of paths and lists, and the names of their outputs."""

from __future__ import annotations

from pathlib import Path

import pytest

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
    assert len(find_videos([first, first])) == 1
    with pytest.raises(InputError, match=r"would both be written as x_9\.mp4"):
        find_videos([first, second])


def test_missing_and_empty_paths_are_named(recordings: Path) -> None:
    (recordings / "empty").mkdir()
    with pytest.raises(InputError, match="no such file or folder"):
        find_videos([recordings / "gone.mp4"])
    with pytest.raises(InputError, match="no videos and no images"):
        find_videos([recordings / "empty"])


def test_paths_of_a_list_start_at_its_folder(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("# comment\n\n  a/one.mp4  \n/absolute/two.mp4\n")
    assert read_list(tmp_path / "list.txt") == [tmp_path / "a/one.mp4", Path("/absolute/two.mp4")]
    with pytest.raises(InputError, match="cannot be read"):
        read_list(tmp_path / "gone.txt")
