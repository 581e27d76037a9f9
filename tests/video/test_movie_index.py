"""The index of an MP4 file whose tables contradict each other, or the file."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import pytest

from endofm.errors import VideoError
from endofm.video.container import Damage, FileBytes
from endofm.video.movie_index import check_movie
from endofm.video.open import open_video
from helpers.video_makers import NUM_FRAMES, write_clip


@pytest.fixture(scope="module")
def movie(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("movie") / "clip.mp4"
    return write_clip(path, numbers=range(NUM_FRAMES), options={"bf": "2", "g": "20"}).read_bytes()


def _changed(data: bytes, box: bytes, offset: int, value: int) -> bytes:
    """Return the file with a 32-bit number changed, ``offset`` bytes into a box."""
    position = data.rfind(box) + 4 + offset
    return data[:position] + struct.pack(">I", value) + data[position + 4 :]


CHANGES = {
    "ticks per second, doubled": (b"mdhd", 12, 25600),
    "ticks per second, of a flipped bit": (b"mdhd", 12, 12800 ^ 1 << 22),
    "no ticks per second": (b"mdhd", 12, 0),
    "length of the medium": (b"mdhd", 16, 99),
    "length of the track": (b"tkhd", 20, 99),
    "length of the edit": (b"elst", 8, 99),
    "number of durations": (b"stts", 8, NUM_FRAMES - 30),
    "duration of frames": (b"stts", 12, 512 ^ 1 << 14),
    "number of frames": (b"stsz", 8, NUM_FRAMES - 1),
    "frames per chunk": (b"stsc", 12, 7),
    "place of a chunk": (b"stco", 8, 40),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_contradiction_in_the_index_is_told(movie: bytes, change: str) -> None:
    check_movie(FileBytes(io.BytesIO(movie)))
    damaged = _changed(movie, *CHANGES[change])
    assert damaged != movie
    with pytest.raises(Damage, match="index"):
        check_movie(FileBytes(io.BytesIO(damaged)))


def test_frames_that_the_edit_list_drops_at_the_end_are_told(movie: bytes) -> None:
    # Half as many ticks per second: the medium lasts twice as long as the edit list shows.
    with open_video(_changed(movie, b"mdhd", 12, 6400)) as video:
        frames = list(video)
        assert len(frames) < NUM_FRAMES
        assert any("leaves out its last frames" in problem for problem in video.problems)


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_uneven_times_and_trimmed_beginnings_are_no_damage(tmp_path: Path, suffix: str) -> None:
    pts = [0, 40, 80, 160, 170, 300, 500, 520, 560, 900, 1000, 1300, 1333]
    path = write_clip(tmp_path / f"a{suffix}", numbers=range(13), pts=pts, fps=1000)
    with open_video(path) as video:
        list(video)
        assert video.problems == ()


def test_a_damaged_index_is_not_called_missing(movie: bytes) -> None:
    damaged = bytearray(movie)
    position = damaged.find(b"stsd")
    damaged[position + 4 : position + 60] = b"\xff" * 56
    with pytest.raises(VideoError, match=r"index .*moov.* is damaged"):
        open_video(bytes(damaged))
