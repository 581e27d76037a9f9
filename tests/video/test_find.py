"""Natural order, and videos and image folders below a folder."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from endofm.address import Address
from endofm.resume import LOCK_NAME, MANIFEST_NAME
from endofm.video.find import find_objects, find_recordings, naturally, walk
from helpers.video_makers import write_clip


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
    assert walk(tmp_path) == (["b/9.MP4", "b/10.mp4", "top.avi"], ["frames"], [], [])


@pytest.mark.parametrize("links", [1, 2])
def test_a_folder_that_links_to_itself_is_searched_once(tmp_path: Path, links: int) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "video.mp4").touch()
    for index in range(links):
        (tmp_path / "a" / "b" / f"link{index}").symlink_to("..")
        (tmp_path / f"z{index}").symlink_to("a")
    assert walk(tmp_path) == (["a/b/video.mp4"], [], [], [])


def test_recordings_are_recognised_by_content_where_the_suffix_says_nothing(tmp_path: Path) -> None:
    write_clip(tmp_path / "no_suffix", numbers=range(4), container_format="mp4")
    write_clip(tmp_path / "clip.REC", numbers=range(4), container_format="matroska")
    write_clip(tmp_path / "raw.h264", numbers=range(4), container_format="h264")
    (tmp_path / "random.dat").write_bytes(np.random.default_rng(0).bytes(5000))
    (tmp_path / "notes").write_text("Seen by Dr. Äkäslompolo.\n", encoding="utf-8")
    (tmp_path / "list.csv").write_text("path,label\n")
    os.mkfifo(tmp_path / "pipe")
    Image.new("RGB", (8, 8)).save(tmp_path / "scan.ppm")
    found = find_recordings(tmp_path)
    assert found.paths == ["clip.REC", "no_suffix", "raw.h264"]
    reasons = dict(found.left_out)
    assert list(reasons) == ["notes", "pipe", "random.dat", "scan.ppm"]
    assert "text file" in reasons["notes"]
    assert "regular file" in reasons["pipe"]
    assert "FFmpeg" in reasons["random.dat"]
    assert "single image" in reasons["scan.ppm"]


def test_frames_beside_videos_need_a_folder_of_their_own(tmp_path: Path) -> None:
    for name in ("a/x.mp4", "a/thumbnail.png", "b/1.png", "b/2.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = find_recordings(tmp_path)
    assert found.paths == ["a/x.mp4", "b"]
    assert [name for name, _ in found.left_out] == ["a"]


def test_results_below_the_recordings_are_no_recordings(tmp_path: Path) -> None:
    for name in ("x.mp4", "out/x.mp4.json.png", "rendered/1.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    for folder, manifest in (("out", '{"videos": []}'), ("rendered", '{"clips": []}')):
        (tmp_path / folder / LOCK_NAME).touch()
        (tmp_path / folder / MANIFEST_NAME).write_text(manifest)
    found = find_recordings(tmp_path)
    assert found.paths == ["rendered/1.mp4", "x.mp4"]
    assert [name for name, _ in found.left_out] == ["out"]
    # Painted videos can still be given on purpose.
    (tmp_path / "out" / "x.mp4.overlay.mp4").touch()
    assert find_recordings(tmp_path / "out").paths == ["x.mp4.overlay.mp4"]


def test_many_files_of_unknown_kinds_take_little_time(tmp_path: Path) -> None:
    big = np.random.default_rng(0).bytes(2**20)
    for index in range(20):
        (tmp_path / f"{index}.dat").write_bytes(big)
    begin = time.process_time()
    assert len(find_recordings(tmp_path).left_out) == 20
    assert time.process_time() - begin < 1.0


def test_videos_below_an_address_are_found_by_their_names() -> None:
    memory = pytest.importorskip("fsspec").filesystem("memory")
    root = f"memory://{uuid4().hex}/archive"
    manifest = json.dumps({"videos": [], "settings": {}}).encode()
    for name, content in {
        "b/x_10.mp4": b"12345",
        "b/x_9.MP4": b"1",
        "a.mkv": b"",
        "stills/1.png": b"",
        "procedure": b"",
        ".hidden/x.mp4": b"",
        "notes.txt": b"",
        "out/manifest.json": manifest,
        "out/x.mp4.overlay.mp4": b"",
        "set/manifest.json": b"[]",
        "set/clip.mp4": b"",
    }.items():
        memory.pipe(f"{root}/{name}", content)
    # Names that could lead out of the folder of the results.
    memory.store[f"{memory._strip_protocol(root)}/../up.mp4"] = memory.store[memory._strip_protocol(f"{root}/a.mkv")]
    found = find_objects(Address(f"{root}/"))
    assert found is not None
    assert list(found.addresses) == found.rest.paths == ["a.mkv", "b/x_9.MP4", "b/x_10.mp4", "set/clip.mp4"]
    assert str(found.addresses["b/x_10.mp4"]) == f"{root}/b/x_10.mp4"
    assert found.addresses["b/x_10.mp4"].stat().st_size == 5
    assert dict(found.rest.left_out) == {
        "out": "this folder holds results of an endofm command",
        "procedure": "its name does not say that this is a video; name it by its own address if it is one",
        "stills": "a folder of images is read as a video on a disk only; copy it there",
    }
    assert find_objects(Address(f"{root}/a.mkv")) is None
    assert find_objects(Address(f"{root}/b/x")) is None
