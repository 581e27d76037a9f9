"""Time stamps of every kind: uneven, shifted, negative, missing, joined, damaged."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from endofm.errors import InputError
from endofm.video.frames import Frame
from endofm.video.open import open_video
from helpers.h264_field_maker import write_field_clip
from helpers.video_makers import paint, read_number, write_clip

_UNEVEN = np.cumsum(np.random.default_rng(0).integers(10, 200, 60)).tolist()


def _read(path: Path) -> tuple[list[Frame], list[int]]:
    """Return the frames and their numbers, once all ways of reading agree about them."""
    with open_video(path) as video:
        frames = list(video)
        assert video.frame_times().tolist() == [frame.pts_seconds for frame in frames]
        assert frames[0].pts_seconds == 0.0
        middle = len(frames) // 2
        again = list(video.sample([frames[middle].pts_seconds, frames[-1].pts_seconds]))
        assert [frame.pts_seconds for frame in again] == [frames[middle].pts_seconds, frames[-1].pts_seconds]
        assert np.array_equal(again[0].data, frames[middle].data)
    return frames, [read_number(frame.data) for frame in frames]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts", ".mov"])
def test_variable_frame_rate(tmp_path: Path, suffix: str) -> None:
    path = write_clip(
        tmp_path / f"uneven{suffix}", pts=_UNEVEN, time_base=Fraction(1, 1000), options={"bf": "2", "g": "12"}
    )
    frames, numbers = _read(path)
    assert numbers == list(range(60))
    stamps = [frame.pts_seconds for frame in frames]
    np.testing.assert_allclose(stamps, (np.array(_UNEVEN) - _UNEVEN[0]) / 1000, atol=1e-9)
    np.testing.assert_allclose([f.duration_seconds for f in frames[:-1]], np.diff(_UNEVEN) / 1000, atol=1e-9)
    with open_video(path) as video:
        assert video.problems == ()
        assert [read_number(f.data) for f in video.sample([stamps[7] - 0.005, stamps[7], stamps[7] + 0.005])] == [
            6,
            7,
            7,
        ]


def test_time_zero_is_the_first_frame_wherever_the_clock_starts(tmp_path: Path) -> None:
    for name, pts in {"late.mp4": range(100, 160), "late.ts": range(5000, 5060), "early.mkv": range(-10, 50)}.items():
        frames, numbers = _read(write_clip(tmp_path / name, pts=list(pts)))
        assert numbers == list(range(60))
        assert frames[-1].pts_seconds == pytest.approx(59 / 25)


def test_an_edit_list_drops_frames(tmp_path: Path) -> None:
    path = write_clip(
        tmp_path / "trimmed.mp4",
        pts=list(range(-10, 50)),
        options={"bf": "2", "g": "20"},
        container_options={"avoid_negative_ts": "disabled"},
    )
    with av.open(str(path)) as container:
        assert any(packet.is_discard for packet in container.demux(video=0)), "the clip has no edit list to test with"
    frames, numbers = _read(path)
    assert numbers == list(range(10, 60))
    with open_video(path) as video:
        assert [read_number(f.data) for f in video.sample([0.0, 1.6])] == [10, 50]
        list(video)
        assert video.problems == ()
    assert frames[-1].pts_seconds == pytest.approx(49 / 25)


def test_a_program_stream_with_few_stamps_is_even(tmp_path: Path) -> None:
    """Many small frames fraction one stamp; between them, libavformat's guesses are out of order."""
    path = write_clip(
        tmp_path / "small_frames.mpg",
        codec="mpeg2video",
        numbers=range(200),
        options={"bf": "2", "g": "12"},
        container_format="mpeg",
    )
    with av.open(str(path)) as container:
        stamps = [frame.pts for frame in container.decode(video=0)]
        assert stamps != sorted(stamps), "the clip is sound, and tests nothing"  # type: ignore[type-var]
    frames, numbers = _read(path)
    assert numbers == list(range(200))
    np.testing.assert_allclose([f.pts_seconds for f in frames], np.arange(200) / 25, atol=1e-4)


def test_gradual_refresh_gives_the_same_pixels_after_a_jump(tmp_path: Path) -> None:
    path = write_clip(
        tmp_path / "refresh.mp4", numbers=range(200), options={"x264-params": "intra-refresh=1:keyint=20:bframes=0"}
    )
    with open_video(path) as video:
        frames = list(video)
    for time in np.arange(1.5, 7.9, 0.4):
        with open_video(path) as video:
            sampled = next(video.sample([time]))
            assert np.array_equal(sampled.data, frames[int(time * 25 + 1e-4)].data)
            assert video.problems == ()


@pytest.mark.parametrize("name", ["h264.ts", "mpeg2.mpg", "mpeg2.ts"])
def test_joined_recordings_make_one_time_line(clip: Callable[[str], Path], tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(clip(name).read_bytes() * 2)
    frames, numbers = _read(path)
    assert numbers == [*range(80), *range(80)]
    np.testing.assert_allclose([f.pts_seconds for f in frames], np.arange(160) / 25, atol=0.001)
    with open_video(path) as video:
        assert [read_number(f.data) for f in video.sample([0.4, 3.16, 3.2, 5.2])] == [10, 79, 0, 50]
        assert len(video.problems) == 1
        assert "clock of the file jumps" in video.problems[0]


# MP4 and Matroska hold whole frames; only transport streams can hold each field for itself.
@pytest.mark.parametrize(
    ("suffix", "one_stamp_per_frame"), [(".ts", True), (".ts", False), (".mkv", True), (".mp4", True)]
)
def test_two_fields_make_one_frame(tmp_path: Path, suffix: str, one_stamp_per_frame: bool) -> None:
    path = write_field_clip(tmp_path / f"fields{suffix}", num_frames=40, one_stamp_per_frame=one_stamp_per_frame)
    frames, numbers = _read(path)
    assert numbers == list(range(40))
    np.testing.assert_allclose([f.pts_seconds for f in frames], np.arange(40) / 25, atol=1e-9)
    with open_video(path) as video:
        assert [read_number(f.data) for f in video.sample([0.2, 1.4])] == [5, 35]
        assert video.problems == ()


def test_hidden_vp8_frames_have_no_time(tmp_path: Path) -> None:
    plain, path = write_clip(tmp_path / "plain.webm", codec="libvpx", options={"b": "400k"}), tmp_path / "hidden.webm"
    hidden = {20, 41}
    with av.open(str(plain)) as source, av.open(str(path), "w") as container:
        stream: Any = container.add_stream_from_template(source.streams.video[0])
        for position, packet in enumerate(p for p in source.demux(video=0) if p.size):
            data = bytearray(bytes(packet))
            if position in hidden:
                data[0] &= ~0x10  # show_frame
            copy: Any = av.Packet(bytes(data))
            copy.pts, copy.dts, copy.time_base = packet.pts, packet.dts, packet.time_base
            copy.is_keyframe, copy.stream = packet.is_keyframe, stream
            container.mux(copy)
    _, numbers = _read(path)
    assert numbers == [n for n in range(60) if n not in hidden]


def test_one_bad_time_stamp_does_not_stretch_the_video(clip: Callable[[str], Path], tmp_path: Path) -> None:
    """One flipped bit in a time stamp must not make a video of days."""
    data = bytearray(clip("h264.flv").read_bytes())
    position, tags = 13, 0
    while tags < 40:  # Walk the tags: type 1 byte, size 3, time stamp 3 + 1 (high byte), stream 3, data, size 4.
        size = int.from_bytes(data[position + 1 : position + 4], "big")
        if data[position] == 9:
            tags += 1
        if tags < 40:
            position += 11 + size + 4
    data[position + 7] |= 0x10
    path = tmp_path / "flipped.flv"
    path.write_bytes(data)
    with open_video(path) as video:
        frames = list(video)
        assert video.end_seconds() < 20
        numbers = [read_number(frame.data) for frame in frames]
        assert len(numbers) > 70
        right = sum(round(f.pts_seconds * 25) == n for f, n in zip(frames, numbers, strict=True))
        assert right > 70


@pytest.mark.parametrize("times", [[1.0, 0.5], [-0.1], [float("nan")], [float("inf")]])
def test_times_must_ascend_and_be_finite(clip: Callable[[str], Path], times: list[float]) -> None:
    with open_video(clip("h264.mp4")) as video, pytest.raises(InputError, match="times"):
        list(video.sample(times))
    with open_video(np.stack([paint(0)] * 90)) as video, pytest.raises(InputError, match="times"):
        list(video.sample(times))


def test_times_are_consumed_one_at_a_time(clip: Callable[[str], Path]) -> None:
    asked: list[float] = []

    def times() -> Any:
        for value in (0.0, 0.5, 1.0):
            asked.append(value)
            yield value

    with open_video(clip("h264.mp4")) as video:
        sampled = video.sample(times())
        assert asked == []
        next(sampled)
        assert asked == [0.0]
        next(sampled)
        assert asked == [0.0, 0.5]


@pytest.mark.parametrize(
    ("name", "codec", "container", "rate", "options"),
    [
        ("a.h264", "libx264", "h264", 50, {"bf": "2"}),
        ("a.264", "libx264", "h264", 10, {}),
        ("a.hevc", "libx265", "hevc", 30, {"x265-params": "pools=1:log-level=none"}),
        ("a.m2v", "mpeg2video", "mpeg2video", 30, {"bf": "2"}),
        ("a.m1v", "mpeg1video", "mpeg1video", Fraction(30000, 1001), {}),
        ("a.m4v", "mpeg4", "m4v", 15, {}),
    ],
)
def test_a_raw_stream_has_the_rate_that_it_states(
    tmp_path: Path, name: str, codec: str, container: str, rate: Fraction, options: dict[str, str]
) -> None:
    path = write_clip(tmp_path / name, codec=codec, container_format=container, fps=rate, options=options)
    frames, numbers = _read(path)
    assert numbers == list(range(60))
    np.testing.assert_allclose([f.pts_seconds for f in frames], np.arange(60) / float(rate), atol=1e-6)
    with open_video(path) as video:
        assert video.end_seconds() == pytest.approx(60 / float(rate), abs=1e-3)
        assert video.metadata.average_fps == pytest.approx(float(rate), rel=1e-6)
        assert video.problems == ()


def test_a_raw_stream_without_a_rate_is_told(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mjpeg", codec="mjpeg", pixel_format="yuvj420p", container_format="mjpeg", fps=10)
    with open_video(path) as video:
        assert video.metadata.average_fps == 25
        assert video.end_seconds() == pytest.approx(60 / 25)
        assert len(video.problems) == 1
        assert "25 frames per second were assumed" in video.problems[0]


@pytest.mark.parametrize("start", [7, 100])
@pytest.mark.parametrize(
    ("suffix", "codec"), [("mkv", "libx264"), ("webm", "libvpx"), ("wmv", "wmv2"), ("nut", "mpeg4"), ("mp4", "mpeg4")]
)
def test_a_clock_that_begins_late_is_no_damage(tmp_path: Path, suffix: str, codec: str, start: int) -> None:
    pts = [start * 25 + number for number in range(100)]
    path = write_clip(tmp_path / f"late.{suffix}", codec=codec, numbers=range(100), pts=pts)
    with open_video(path) as video:
        assert len(list(video)) == len(video.frame_times()) == 100
        assert video.end_seconds() == pytest.approx(4)
        assert video.metadata.duration_seconds == pytest.approx(4, abs=0.1)
        assert video.problems == ()
    if suffix == "mp4":
        return
    data = path.read_bytes()
    with open_video(data[: len(data) // 2]) as video:
        list(video)
        assert video.problems, "a file that was cut off is told, whenever its clock begins"


def test_empty_chunks_for_dropped_frames_of_an_avi_file_are_no_damage(tmp_path: Path) -> None:
    kept = [*range(20), *range(46, 100)]
    path = write_clip(tmp_path / "a.avi", codec="mjpeg", pixel_format="yuvj420p", numbers=kept, pts=kept)
    with open_video(path) as video:
        frames = list(video)
        assert [round(f.pts_seconds * 25) for f in frames] == kept
        assert video.frame_times().tolist() == [f.pts_seconds for f in frames]
        assert video.problems == ()
    data = path.read_bytes()
    with open_video(data[: len(data) * 3 // 4]) as video:
        list(video)
        assert any("cut off" in problem for problem in video.problems)


def test_time_stamps_of_years_are_told_and_bounded(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.mp4", codec="mpeg4", numbers=range(50))
    data = bytearray(path.read_bytes())
    table = data.find(b"stts") - 4
    data[table + 20 : table + 24] = b"\x7f\xff\xff\xff"  # 46 hours for every frame.
    with open_video(bytes(data)) as video:
        assert video.end_seconds() < 20
        assert video.problems
    path = write_clip(tmp_path / "live.webm", codec="libvpx", options={"g": "12"}, container_options={"live": "1"})
    data = bytearray(path.read_bytes())
    cluster = data.rfind(b"\x1f\x43\xb6\x75")
    stamp = data.find(b"\xe7", cluster)
    width = data[stamp + 1] & 0x7F
    data[stamp + 1 : stamp + 2 + width] = b"\x88" + (10**12).to_bytes(8, "big")  # 31 years.
    with open_video(bytes(data)) as video:
        frames = list(video)
        assert video.end_seconds() < 20
        assert len(frames) == len(video.frame_times()) >= 50
        assert any("clock of the file jumps" in problem for problem in video.problems)
