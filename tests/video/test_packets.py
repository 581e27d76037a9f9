"""Damaged files: intact frames keep their times, losses are reported, and nothing hangs."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from endofm.errors import VideoError
from endofm.video.frames import Frame
from endofm.video.open import open_video
from endofm.video.packets import FrameFinder
from helpers.video_makers import NUM_FRAMES, paint, read_number, write_clip


def _right(frames: list[Frame], rate: float = 25.0, first: int = 0) -> int:
    """Count the frames whose painted number is the one that belongs to their time."""
    count = 0
    for frame in frames:
        try:
            count += read_number(frame.data) == first + round(frame.pts_seconds * rate)
        except AssertionError:
            continue
    return count


def _read(data: bytes) -> tuple[list[Frame], tuple[str, ...]]:
    with open_video(data) as video:
        frames = list(video)
        video.frame_times()
        return frames, video.problems


def _packets(path: Path) -> list[tuple[int, int, bool]]:
    """Return position, size and key flag of every packet of the video."""
    with av.open(str(path)) as container:
        return [(p.pos, p.size, p.is_keyframe) for p in container.demux(video=0) if p.size and p.pos is not None]


@pytest.fixture
def faststart(tmp_path: Path) -> Path:
    """An MP4 file with its index in front, so that it survives being cut."""
    return write_clip(
        tmp_path / "front.mp4",
        numbers=range(NUM_FRAMES),
        options={"x264-params": "keyint=20:min-keyint=20:scenecut=0:bframes=2"},
        container_options={"movflags": "faststart"},
    )


@pytest.mark.parametrize("name", ["h264.mkv", "h264_fragmented.mp4", "h264.ts", "mpeg2.mpg", "vp8.webm", "h264.flv"])
@pytest.mark.parametrize("fraction", [0.7, 0.4])
def test_a_file_that_was_cut_off(clip: Callable[[str], Path], name: str, fraction: float) -> None:
    data = clip(name).read_bytes()
    frames, problems = _read(data[: int(fraction * len(data))])
    assert 0.5 * fraction * NUM_FRAMES < len(frames) < NUM_FRAMES
    assert _right(frames) >= len(frames) - 2  # The last one may be half there.
    assert frames[-1].pts_seconds < 3.2
    if name in ("h264.mkv", "vp8.webm"):
        assert any("announces 3.200 s" in problem and "cut off" in problem for problem in problems)


def test_a_cut_mp4_with_its_index_in_front(faststart: Path) -> None:
    data = faststart.read_bytes()
    position, _, _ = _packets(faststart)[45]
    with open_video(data[:position]) as video:
        frames = list(video)
        assert 40 <= len(frames) <= 45
        assert _right(frames) == len(frames)
        assert any("announces 3.200 s" in problem for problem in video.problems)
        sampled = list(video.sample([0.2, 1.0, 3.0]))
        assert [read_number(frame.data) for frame in sampled] == [5, 25]


def test_an_mp4_without_its_index_says_so(clip: Callable[[str], Path]) -> None:
    data = clip("h264.mp4").read_bytes()
    with pytest.raises(VideoError, match=r"no index .*moov.*cut off"):
        open_video(data[: len(data) // 2])


def test_after_an_error_decoding_resumes_at_the_next_key_frame(faststart: Path) -> None:
    data = bytearray(faststart.read_bytes())
    packets = _packets(faststart)
    keys = [index for index, (_, _, key) in enumerate(packets) if key]
    assert keys == [0, 20, 40, 60]
    for position, size, _ in packets[24:28]:
        data[position : position + size] = bytes(size)
    with open_video(bytes(data)) as video:
        frames = list(video)
        numbers = {round(frame.pts_seconds * 25) for frame in frames}
        assert set(range(24)) | set(range(40, 80)) <= numbers, "frames before the damage were whole"
        assert _right(frames) >= len(frames) - 1
        lost = NUM_FRAMES - len(frames)
        assert 10 <= lost <= 18
        told = [problem for problem in video.problems if "could not be decoded" in problem]
        assert told == [p for p in told if p.startswith(f"{lost} frames from ")]
        assert len(told) == 1
        assert not any("missing" in problem for problem in video.problems), "the hole is explained already"
        list(video)
        assert told == [p for p in video.problems if "could not be decoded" in p], "damage met twice counts once"
    with open_video(bytes(data)) as video:  # Also for one who jumps right into the damage.
        assert [read_number(f.data) for f in video.sample([0.5, 1.5, 1.7])] == [
            12,
            max(n for n in numbers if n < 38),
            42,
        ]


@pytest.mark.parametrize("codec", ["mpeg4", "mpeg2video", "libx265"])
def test_frames_that_lack_their_references_are_left_out_or_reported(tmp_path: Path, codec: str) -> None:
    options = {"x265-params": "keyint=20:min-keyint=20:scenecut=0:bframes=0:pools=1:log-level=none"}
    path = write_clip(
        tmp_path / "clip.mp4",
        codec=codec,
        numbers=range(NUM_FRAMES),
        options=options if codec == "libx265" else {"g": "20", "sc_threshold": "1000000000"},
    )
    data = bytearray(path.read_bytes())
    packets = _packets(path)
    broken = next(i for i, (_, _, key) in enumerate(packets) if i > 15 and not key and not packets[i + 1][2])
    resumed = next(i for i, (_, _, key) in enumerate(packets) if i > broken and key)
    position, size, _ = packets[broken]
    data[position : position + size] = bytes(size)
    frames, problems = _read(bytes(data))
    sound = [frame for frame in frames if not broken <= round(frame.pts_seconds * 25) < resumed]
    assert len(sound) == NUM_FRAMES - (resumed - broken)
    assert _right(sound) == len(sound)
    between = len(frames) - len(sound)
    assert any(problem.endswith("could not be decoded") for problem in problems)
    if between:  # A decoder that takes no offence at an empty packet (MPEG-2).
        assert any(problem.startswith(f"{between} frame") and "may look damaged" in problem for problem in problems)


def test_a_damaged_key_frame_costs_its_group_only(faststart: Path) -> None:
    data = bytearray(faststart.read_bytes())
    position, size, _ = _packets(faststart)[40]
    data[position : position + size] = bytes(size)
    frames, problems = _read(bytes(data))
    assert {round(frame.pts_seconds * 25) for frame in frames} >= set(range(38)) | set(range(60, 80))
    assert _right(frames) == len(frames)
    assert any("frames from 1." in problem for problem in problems)


@pytest.mark.parametrize("name", ["h264.ts", "h264_open_gop.ts", "mpeg2.ts", "mpeg2.mpg"])
def test_a_recording_that_begins_in_the_middle_of_a_group(clip: Callable[[str], Path], name: str) -> None:
    path = clip(name)
    data = path.read_bytes()
    cut = len(data) // 4
    frames, problems = _read(data[cut // 188 * 188 if name.endswith(".ts") else cut :])
    numbers = [read_number(frame.data) for frame in frames]
    assert 8 < numbers[0] <= 40
    assert numbers == list(range(numbers[0], 80))
    assert frames[0].pts_seconds == 0.0
    assert any("before the first one that could be decoded" in problem for problem in problems)
    with open_video(data[cut // 188 * 188 if name.endswith(".ts") else cut :]) as video:
        assert video.frame_times().tolist() == [frame.pts_seconds for frame in frames]
        assert [read_number(f.data) for f in video.sample([0.0, 1.4])] == [numbers[0], numbers[35]]


def test_frames_missing_from_the_container_are_reported(clip: Callable[[str], Path], tmp_path: Path) -> None:
    path = tmp_path / "hole.mkv"
    with av.open(str(clip("mjpeg.avi"))) as source, av.open(str(path), "w") as container:
        stream: Any = container.add_stream_from_template(source.streams.video[0])
        for position, packet in enumerate(p for p in source.demux(video=0) if p.size):
            if not 30 <= position < 42:
                packet.stream = stream
                container.mux(packet)
    with open_video(path) as video:
        frames = list(video)
        assert _right(frames) == len(frames) == 68
        assert video.problems == ("about 12 frames between 1.160 s and 1.680 s are missing from the file",)
        assert read_number(next(video.sample([1.5])).data) == 29


def test_a_picture_that_changes_its_size_in_the_middle(tmp_path: Path) -> None:
    options = {"bf": "2", "g": "20"}
    large = write_clip(tmp_path / "large.ts", options=options, numbers=range(30))
    small = write_clip(tmp_path / "small.ts", options=options, numbers=range(30, 60), size=(64, 48))
    frames, problems = _read(large.read_bytes() + small.read_bytes())
    assert {frame.data.shape for frame in frames} == {(96, 128, 3)}
    assert [read_number(frame.data) for frame in frames] == list(range(60))
    assert any("picture size changes to 64 x 48" in problem for problem in problems)


def test_a_stream_that_begins_after_the_header(clip: Callable[[str], Path], tmp_path: Path) -> None:
    """Sound that is switched on in the middle of a transport stream; PyAV loses count of the streams at its end."""
    later = tmp_path / "sound.ts"
    with av.open(str(later), "w") as container:
        picture: Any = container.add_stream("libx264", rate=25, options={"g": "20", "bf": "0"})
        picture.width, picture.height, picture.pix_fmt = 128, 96, "yuv420p"
        sound: Any = container.add_stream("mp2", rate=48000, layout="stereo")
        for number in range(40):
            container.mux(picture.encode(av.VideoFrame.from_ndarray(paint(number), format="rgb24")))
            wave = av.AudioFrame.from_ndarray(np.zeros((1, 2 * 1920), np.int16), "s16", "stereo")
            wave.sample_rate, wave.pts = 48000, number * 1920
            container.mux(sound.encode(wave))
        for stream in (picture, sound):
            container.mux(stream.encode(None))
    # Long enough that the beginning and the end, which FFmpeg studies for streams, hold no sound.
    silent = clip("h264.ts").read_bytes() * 20
    with open_video(silent + later.read_bytes() + silent) as video:
        assert len(video.frame_times()) == 40 * NUM_FRAMES + 40
        assert read_number(next(video.sample([64.4])).data) == 10
        assert read_number(next(video.sample([65.56])).data) == 39


def test_nothing_decodable_is_an_error_that_names_the_file(faststart: Path, tmp_path: Path) -> None:
    data = bytearray(faststart.read_bytes())
    for position, size, _ in _packets(faststart):
        data[position : position + size] = bytes(size)
    path = tmp_path / "all_zero.mp4"
    path.write_bytes(data)
    with pytest.raises(VideoError, match=r"all_zero\.mp4: no frame of this video can be decoded"):
        open_video(path)


_FUZZED = ["h264_fragmented.mp4", "h264.mkv", "h264.ts", "mpeg2.mpg", "mpeg4.avi", "mjpeg.avi", "wmv2.wmv", "vp8.webm"]


def _damage(data: bytes, kind: str, seed: int) -> bytes:
    chance, damaged = random.Random(seed), bytearray(data)
    start = chance.randrange(len(data) // 10, len(data))
    length = chance.randrange(1, len(data) // 6)
    if kind == "cut":
        return bytes(damaged[:start])
    if kind == "zero":
        damaged[start : start + length] = bytes(len(damaged[start : start + length]))
    elif kind == "remove":
        del damaged[start : start + length]
    else:
        for _ in range(20):
            damaged[chance.randrange(len(data) // 10, len(data))] ^= 1 << chance.randrange(8)
    return bytes(damaged)


@pytest.mark.parametrize("name", _FUZZED)
@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kind=st.sampled_from(["cut", "zero", "remove", "flip"]), seed=st.integers(0, 2**32))
def test_any_damage_ends_in_frames_or_an_error_of_ours(
    clip: Callable[[str], Path], name: str, kind: str, seed: int
) -> None:
    data = _damage(clip(name).read_bytes(), kind, seed)
    try:
        video = open_video(data)
    except VideoError:
        return
    with video:
        frames = list(video)
        stamps = [frame.pts_seconds for frame in frames]
        assert stamps == sorted(stamps)
        assert stamps[0] == 0.0
        assert {frame.data.shape for frame in frames} == {(96, 128, 3)}
        times = video.frame_times()
        assert bool((np.diff(times) >= 0).all())
        # A broken header can make the decoder hand pictures out in the wrong order; late ones then fraction a time.
        assert len(set(stamps)) <= len(times) + 1
        assert all(isinstance(problem, str) and problem for problem in video.problems)
        assert len(list(video.sample([0.0, 0.8, 1.6, 2.4]))) <= 4
        if kind == "zero" and name not in ("mpeg4.avi", "mjpeg.avi"):  # AVI has no stamps to keep times by.
            # Where the beginning is lost, which is told, time begins with the first frame that is left.
            lost = any("before the first one" in problem for problem in video.problems)
            first = read_number(frames[0].data) if lost else 0
            assert _right(frames, first=first) >= 0.75 * len(frames)


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (b"\x86\x00\x40", True),  # marker 10, profile 0, no existing frame, inter, shown
        (b"\x84\x00\x40", False),  # the same, hidden
        (b"\x88\x00", True),  # shows an existing frame
        (b"\x82\x49\x83", True),  # key frame, shown
        (b"\x80\x49\x83", False),  # key frame, hidden
        (b"\x84\x00\xc0", True),  # a superframe ends with a frame that is shown
        (b"\xb1\x00\x40", True),  # profile 3 has a bit more: key frame, not an existing one, shown
    ],
)
def test_vp9_headers(data: bytes, shown: bool) -> None:
    packet = av.Packet(data)
    finder = FrameFinder(av.CodecContext.create("vp9", "r"))  # type: ignore[arg-type]
    assert finder.shows_frame(packet) is shown  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "codec"), [("a.avi", "mjpeg"), ("a.mov", "mjpeg"), ("a.wmv", "wmv2")])
def test_wrong_pixels_that_a_strict_decoder_notices_are_told(tmp_path: Path, name: str, codec: str) -> None:
    pixel_format = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    options = {"g": "12"} if codec == "wmv2" else {}
    path = write_clip(tmp_path / name, codec=codec, pixel_format=pixel_format, options=options, size=(320, 240))
    sound, problems = _read(path.read_bytes())
    assert problems == ()
    packets = [(position, size) for position, size, _ in _packets(path) if size > 300][:25]
    rng = random.Random(1)
    silent = 0
    for position, size in packets:
        data = bytearray(path.read_bytes())
        # Behind the headers of a JPEG picture.
        start = position + size // 2
        data[start : start + size // 3] = rng.randbytes(size // 3)
        frames, problems = _read(bytes(data))
        pixels = {frame.pts_seconds: frame.data for frame in frames}
        wrong = [f for f in sound if np.abs(f.data.astype(int) - pixels.get(f.pts_seconds, f.data)).mean() > 12]
        silent += bool(wrong) and not problems
    assert len(packets) > 10
    assert silent <= len(packets) // 8, "a decoder that is not asked notices none of them"


def test_a_damaged_wmv_frame_costs_itself_and_marks_the_rest_of_its_group(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.wmv", codec="wmv2", options={"g": "30"}, numbers=range(60))
    data = bytearray(path.read_bytes())
    position, size, key = _packets(path)[10]
    assert not key
    data[position + size // 2 : position + size // 2 + 60] = bytes(60)
    frames, problems = _read(bytes(data))
    assert len(frames) >= 55
    assert any("could not be decoded" in problem for problem in problems)
    assert any("may look damaged" in problem for problem in problems)


def test_a_damaged_stamp_of_the_first_frame_hides_no_others(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.vob", codec="mpeg2video", container_format="vob", options={"g": "12", "bf": "2"})
    data = bytearray(path.read_bytes())
    stamp = data.index(b"\x00\x00\x01\xe0") + 9
    assert data[stamp] >> 4 in (2, 3), "a time stamp"
    data[stamp + 3] ^= 0x20
    frames, _ = _read(bytes(data))
    assert len(frames) >= 58


def test_pictures_that_a_raw_stream_lacks_are_told(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.h264", container_format="h264", options={"g": "15", "bf": "3"})
    data = path.read_bytes()
    assert _read(data)[1] == ()
    starts = [match.start() for match in re.finditer(rb"\x00\x00\x01[\x01\x41\x61\x21]", data)]
    assert len(starts) > 50
    for lost in (5, 20, 33):
        damaged = data[: starts[lost]] + data[starts[lost + 1] :]
        frames, problems = _read(damaged)
        assert len(frames) < 60
        assert any("pictures are lost" in problem or "could not be decoded" in problem for problem in problems), lost
    _, problems = _read(data[: starts[10]] + bytes(300) + data[starts[10] + 300 :])
    assert problems


def test_motion_jpeg_without_a_name_is_no_single_image(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mjpeg", codec="mjpeg", pixel_format="yuvj420p", container_format="mjpeg")
    frames, problems = _read(path.read_bytes())
    assert len(frames) == 60
    assert any("assumed" in problem for problem in problems)
