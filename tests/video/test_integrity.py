"""Damage that only the structure of a container shows: chains, sizes, counts and checksums."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from endofm.video.container import Damage, FileBytes
from endofm.video.integrity import check_structure
from endofm.video.open import open_video
from helpers.video_makers import CLIPS, NUM_FRAMES, write_clip

CONTAINERS = {
    "mkv": "matroska,webm",
    "webm": "matroska,webm",
    "avi": "avi",
    "wmv": "asf",
    "flv": "flv",
    "ogv": "ogg",
    "gif": "gif",
}


def _check(data: bytes, container: str) -> str:
    try:
        check_structure(FileBytes(io.BytesIO(data)), container)
    except Damage as damage:
        return str(damage)
    return ""


@pytest.fixture(scope="module")
def ogg(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("ogg") / "clip.ogv"
    write_clip(path, codec="libvpx", container_format="ogg", options={"g": "12", "deadline": "realtime"})
    return path.read_bytes()


@pytest.mark.parametrize("name", [name for name in CLIPS if name.split(".")[-1] in CONTAINERS])
def test_an_intact_file_has_no_damage_and_every_cut_is_found(clip: Callable[[str], Path], name: str) -> None:
    data, container = clip(name).read_bytes(), CONTAINERS[name.split(".")[-1]]
    assert _check(data, container) == ""
    for kept in range(len(data) // 4, len(data), len(data) // 7):
        try:
            damage = _check(data[:kept], container)
        except (LookupError, ValueError):
            continue
        assert damage, f"{kept} of {len(data)} bytes"


def test_pages_of_an_ogg_file(ogg: bytes) -> None:
    assert _check(ogg, "ogg") == ""
    pages = [match.start() for match in re.finditer(b"OggS", ogg)]
    assert len(pages) >= 4
    second, third = pages[2], pages[3]
    assert "missing, repeated" in _check(ogg[:second] + ogg[third:], "ogg")
    assert "missing, repeated" in _check(ogg[:third] + ogg[second:], "ogg")
    assert "mark of its end" in _check(ogg[: pages[-1]], "ogg")
    for position in range(pages[1], len(ogg), 211):
        damaged = bytearray(ogg)
        damaged[position] ^= 4
        assert _check(bytes(damaged), "ogg"), "one flipped bit"


def test_checksums_of_a_matroska_file(clip: Callable[[str], Path]) -> None:
    data = clip("h264.mkv").read_bytes()
    first = data.find(b"\x1f\x43\xb6\x75")
    for position in range(first, len(data), 97):
        damaged = bytearray(data)
        damaged[position] ^= 16
        assert _check(bytes(damaged), "matroska,webm"), f"one flipped bit at byte {position}"


@pytest.mark.parametrize("name", ["vp8.webm", "h264.flv", "mjpeg.avi", "wmv2.wmv", "palette.gif"])
def test_removed_and_repeated_bytes_are_told(clip: Callable[[str], Path], name: str) -> None:
    data = clip(name).read_bytes()
    for start in range(len(data) // 3, len(data) - 2000, len(data) // 5):
        for damaged in (data[:start] + data[start + 700 :], data[: start + 700] + data[start:]):
            with open_video(damaged) as video:
                frames = list(video)
                assert video.problems or len(frames) == NUM_FRAMES


def test_a_picture_of_an_flv_file_that_calls_itself_sound(clip: Callable[[str], Path]) -> None:
    data = bytearray(clip("h264.flv").read_bytes())
    tags, position = [], int.from_bytes(data[5:9], "big") + 4
    while position < len(data):
        tags.append(position)
        position += 15 + int.from_bytes(data[position + 1 : position + 4], "big")
    assert data[tags[-1]] == 9
    data[tags[-1]] = 8
    assert "a tag says that it is sound" in _check(bytes(data), "flv")
    # With the mark of sound in the header it is some.
    data[4] |= 4
    assert _check(bytes(data), "flv") == ""
    # So is that of a recorder that forgets the mark.
    data[4] &= ~4
    for position in tags[-len(tags) // 3 :]:
        data[position] = 8
    assert _check(bytes(data), "flv") == ""


def test_two_sizes_of_packets_in_an_asf_header(clip: Callable[[str], Path]) -> None:
    data = bytearray(clip("wmv2.wmv").read_bytes())
    properties = data.find(bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365"))
    data[properties + 97] ^= 2
    assert "two sizes of packets" in _check(bytes(data), "asf")


def test_two_frames_of_an_ivf_file_at_one_time(tmp_path: Path) -> None:
    options = {"g": "12", "deadline": "realtime"}
    data = bytearray(write_clip(tmp_path / "a.ivf", codec="libvpx", options=options).read_bytes())
    assert _check(bytes(data), "ivf") == ""
    second = 32 + 12 + int.from_bytes(data[32:36], "little")
    data[second + 4 : second + 12] = bytes(8)
    assert "no later time" in _check(bytes(data), "ivf")


def test_two_rates_in_an_avi_header(clip: Callable[[str], Path]) -> None:
    data = bytearray(clip("mjpeg.avi").read_bytes())
    stream = data.find(b"strh") + 8
    data[stream + 24 : stream + 28] = (153).to_bytes(4, "little")
    assert "two rates, 153 and 25" in _check(bytes(data), "avi")


def test_problems_are_known_after_iterating_and_after_indexing(ogg: bytes) -> None:
    data = ogg[: len(ogg) * 2 // 3]
    with open_video(data) as video:
        list(video)
        iterated = video.problems
    with open_video(data) as video:
        video.frame_times()
        indexed = video.problems
    assert iterated == indexed != ()


class TestMXF:
    @pytest.fixture
    def content(self, tmp_path: Path) -> bytes:
        options = {"g": "12", "bf": "2"}
        return write_clip(tmp_path / "a.mxf", codec="mpeg2video", numbers=range(50), options=options).read_bytes()

    def problems(self, content: bytes) -> tuple[str, ...]:
        with open_video(content) as video:
            list(video)
            video.frame_times()
            return video.problems

    def test_an_intact_file_has_no_problems(self, content: bytes) -> None:
        assert not self.problems(content)

    def test_a_broken_chain_and_a_cut_end_are_reported(self, content: bytes) -> None:
        key = content.index(b"\x06\x0e\x2b\x34\x01\x02\x01\x01\x0d\x01\x03\x01\x15", len(content) // 2)
        assert self.problems(content[:key] + bytes(4) + content[key + 4 :])
        assert self.problems(content[: len(content) * 9 // 10])


@pytest.mark.parametrize(
    ("name", "codec", "container"), [("a.nut", "mpeg4", "nut"), ("a.ivf", "libvpx", "ivf")], ids=["nut", "ivf"]
)
def test_the_first_and_the_last_frames_of_nut_and_ivf(tmp_path: Path, name: str, codec: str, container: str) -> None:
    data = write_clip(tmp_path / name, codec=codec, container_format=container, options={"g": "12"}).read_bytes()
    assert _check(data, container) == ""
    assert _check(data[: len(data) * 2 // 3], container)
    first = data.find(b"NK\xe4\xad") if container == "nut" else 32
    assert _check(data[:first] + bytes(200) + data[first + 200 :], container)


def test_a_long_run_of_zeros_is_read_once() -> None:
    """In a process of its own: where each zero starts a search of the whole run, the first megabyte takes minutes."""
    code = (
        "from endofm.video.container import Damage, FileBytes\n"
        "from endofm.video.integrity import check_structure\n"
        "import io\n"
        "zeros = b'\\0\\0\\1' + bytes(4 << 20)\n"
        "check_structure(FileBytes(io.BytesIO(zeros)), 'm4v')\n"
        "try:\n"
        "    check_structure(FileBytes(io.BytesIO(zeros + b'\\2')), 'm4v')\n"
        "except Damage as damage:\n"
        "    print(damage)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert "a run of zeros" in done.stdout
