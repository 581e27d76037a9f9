from __future__ import annotations

import io
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from endofm.errors import InputError, VideoError
from endofm.video.find import find_recordings
from endofm.video.open import open_video
from helpers.dicom_makers import SYNTAXES, write_pictures, write_report, write_stream
from helpers.video_makers import NUM_FRAMES, read_number, write_clip

COUNT = 20

STREAMS = [("h264", "h264", 1), ("h264", "h264", 3), ("mp4", "h264", 1), ("ts", "h264", 1)]
STREAMS += [("hevc", "hevc", 1), ("m2v", "mpeg2", 1)]


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], bytes]:
    """Return the bytes of a clip of 20 numbered frames at 25 frames per second, by the suffix of its container."""
    folder = tmp_path_factory.mktemp("streams")
    settings: dict[str, dict[str, Any]] = {
        "h264": {},
        "mp4": {},
        "ts": {"container_format": "mpegts"},
        "hevc": {"codec": "libx265", "options": {"x265-params": "log-level=none"}},
        "m2v": {"codec": "mpeg2video", "options": {"b": "2M"}},
    }

    def get(suffix: str) -> bytes:
        path = folder / f"clip.{suffix}"
        if not path.exists():
            write_clip(path, numbers=range(COUNT), fps=25, **settings[suffix])
        return path.read_bytes()

    return get


@pytest.fixture
def h264(stream: Callable[[str], bytes], tmp_path: Path) -> Callable[..., Path]:
    """Write an object with a raw H.264 stream and a header."""

    def write(name: str = "v.dcm", count: int = COUNT, suffix: str = "h264", **header: Any) -> Path:
        return write_stream(tmp_path / name, stream(suffix), syntax=SYNTAXES["h264"], count=count, **header)

    return write


@pytest.mark.parametrize(("suffix", "syntax", "pieces"), STREAMS)
@pytest.mark.parametrize("form", ["path", "bytes", "file"])
def test_frames_of_a_stream_have_the_times_of_the_header(
    stream: Callable[[str], bytes], tmp_path: Path, suffix: str, syntax: str, pieces: int, form: str
) -> None:
    header: dict[str, Any] = {"FrameTime": "100", "CineRate": 10}
    path = tmp_path / "v.dcm"
    write_stream(path, stream(suffix), syntax=SYNTAXES[syntax], count=COUNT, pieces=pieces, **header)
    source: Any = {"path": path, "bytes": path.read_bytes(), "file": io.BytesIO(path.read_bytes())}[form]
    with open_video(source) as video:
        assert video.metadata.average_fps == 10
        assert video.metadata.num_frames == COUNT
        assert video.metadata.container.startswith("dicom,")
        assert video.frame_times() == pytest.approx(np.arange(COUNT) / 10)
        assert video.end_seconds() == pytest.approx(2.0)
        assert [read_number(frame.data) for frame in video] == list(range(COUNT))
        shown = list(video.sample([0.0, 0.55, 0.55, 1.0, 1.99, 2.0]))
        assert [read_number(frame.data) for frame in shown] == [0, 5, 5, 10, 19]
        assert [frame.pts_seconds for frame in shown] == pytest.approx([0, 0.5, 0.5, 1.0, 1.9])
        assert shown[1] is shown[2]
        assert shown[1].duration_seconds == pytest.approx(0.1)
        # The stream states 25 frames per second.
        assert len(video.problems) == 1, video.problems
        assert "0.800 s by its own clock, and after 2.000 s by the header" in video.problems[0]


@pytest.mark.parametrize(
    ("header", "rate"),
    [
        ({"FrameTime": "40"}, 25),
        ({"FrameTime": "33", "CineRate": 30}, 30),
        ({"FrameTime": "33.3667"}, 1000 / 33.3667),
        ({"CineRate": 50}, 50),
        ({"RecommendedDisplayFrameRate": 12}, 12),
        ({"CineRate": 20, "RecommendedDisplayFrameRate": 12}, 20),
        ({"FrameTimeVector": ["0", *["20"] * (COUNT - 1)]}, 50),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else f"{value:.0f}",
)
def test_the_rate_is_taken_from_the_attribute_that_knows_it(
    h264: Callable[..., Path], header: dict[str, Any], rate: float
) -> None:
    with open_video(h264(**header)) as video:
        assert video.frame_times() == pytest.approx(np.arange(COUNT) / rate)
        assert not [problem for problem in video.problems if "assumed" in problem]


@pytest.mark.parametrize("kind", ["h264", "jpeg"])
def test_uneven_times_are_kept(h264: Callable[..., Path], tmp_path: Path, kind: str) -> None:
    header = {"FrameTimeVector": ["0", "100", "300", "100"], "FrameIncrementPointer": 0x00181065}
    path = write_pictures(tmp_path / "v.dcm", range(COUNT), **header) if kind == "jpeg" else h264(**header)
    with open_video(path) as video:
        # Beyond the vector with the usual step.
        assert video.frame_times()[:6] == pytest.approx([0, 0.1, 0.4, 0.5, 0.6, 0.7])
        assert [read_number(frame.data) for frame in video.sample([0.39, 0.41, 0.5])] == [1, 2, 3]
        assert next(iter(video.sample([0.2]))).duration_seconds == pytest.approx(0.3)


def test_a_header_that_contradicts_itself_is_reported(h264: Callable[..., Path]) -> None:
    with open_video(h264(count=COUNT + 2, suffix="mp4", FrameTime="40", CineRate=30)) as video:
        assert video.end_seconds() == pytest.approx(COUNT / 25)
        assert any("40 ms from frame to frame and 30 frames per second" in problem for problem in video.problems)
        assert any("states 22 frames, and there are 20" in problem for problem in video.problems)


def test_without_a_rate_in_the_header_the_stream_keeps_its_own(h264: Callable[..., Path]) -> None:
    with open_video(h264(suffix="mp4")) as video:
        assert video.frame_times() == pytest.approx(np.arange(COUNT) / 25)
        assert any("states no frame rate" in problem for problem in video.problems)


@pytest.mark.parametrize(("kind", "pieces"), [("jpeg", 1), ("jpeg", 3), ("rle", 1), ("raw", 1), ("grey", 1)])
def test_separate_pictures(tmp_path: Path, kind: str, pieces: int) -> None:
    path = write_pictures(tmp_path / "v.dcm", range(8), kind=kind, pieces=pieces, FrameTime="50")
    with open_video(path) as video:
        assert video.metadata.average_fps == 20
        assert video.frame_times() == pytest.approx(np.arange(8) / 20)
        assert [read_number(frame.data) for frame in video] == list(range(8))
        assert [read_number(frame.data) for frame in video.sample([0.26, 0.39])] == [5, 7]
        assert not video.problems


def test_pictures_without_a_rate_take_the_nominal_one(tmp_path: Path) -> None:
    path = write_pictures(tmp_path / "v.dcm", range(4))
    with open_video(path, fps=5) as video:
        assert video.end_seconds() == pytest.approx(0.8)
    with open_video(path) as video:
        assert any("states no frame rate" in problem for problem in video.problems)


def test_the_pixel_data_are_not_copied(stream: Callable[[str], bytes], tmp_path: Path) -> None:
    padding = (32 << 20).to_bytes(4, "big") + b"free" + bytes((32 << 20) - 8)
    path = tmp_path / "v.dcm"
    write_stream(path, stream("mp4") + padding, syntax=SYNTAXES["h264"], count=COUNT, FrameTime="40")
    tracemalloc.start()
    try:
        with open_video(path) as video:
            assert len(video.frame_times()) == COUNT
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < len(padding) // 4


def test_folders_hold_dicom_videos_beside_other_objects(h264: Callable[..., Path], tmp_path: Path) -> None:
    for name in ("a.dcm", "IM0001"):
        h264(name, FrameTime="40")
    write_pictures(tmp_path / "loop.dcm", range(4), FrameTime="40")
    write_pictures(tmp_path / "still.dcm", [1])
    write_report(tmp_path / "report.dcm")
    found = find_recordings(tmp_path)
    assert found.paths == ["IM0001", "a.dcm", "loop.dcm"]
    reasons = dict(found.left_out)
    assert "single image (DICOM)" in reasons["still.dcm"]
    assert "holds no pictures; it is a report" in reasons["report.dcm"]


def test_what_cannot_be_read_is_said(
    h264: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = h264(FrameTime="40")
    data = whole.read_bytes()
    with pytest.raises(VideoError, match="DICOM file holds no pictures; it is a report"):
        open_video(write_report(tmp_path / "report.dcm"))
    with pytest.raises(VideoError, match="DICOM file .* was cut off"):
        open_video(data[:450])
    with pytest.raises(VideoError, match="DICOM file is damaged: its pixel data are empty"):
        open_video(data[: data.index(b"\xe0\x7f\x10\x00OB") + 24])
    with open_video(data[: len(data) * 3 // 4]) as video:
        assert any("ends before its pixel data does" in problem for problem in video.problems)
    with pytest.raises(VideoError, match="torchcodec does not read DICOM"):
        open_video(whole, decoder="torchcodec")
    with pytest.raises(InputError, match="has times of its own"):
        open_video(whole, fps=10)
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(VideoError, match=r"this is a DICOM file; reading it needs .*endofm\[dicom\]"):
        open_video(whole)


def test_noise_raises_nothing_but_video_errors(h264: Callable[..., Path], tmp_path: Path) -> None:
    files = [
        h264(suffix="mp4", FrameTime="40"),
        write_pictures(tmp_path / "p.dcm", range(3), pieces=2, FrameTime="40"),
        write_pictures(tmp_path / "r.dcm", range(3), kind="raw", FrameTime="40"),
    ]
    draw = np.random.default_rng(0)
    for file in files:
        good = np.frombuffer(file.read_bytes(), np.uint8)
        for _ in range(60):
            bad = good.copy()
            where = draw.integers(132, min(len(bad), 1600), 6)
            bad[where] = draw.integers(0, 256, 6)
            try:
                with open_video(bad.tobytes()) as video:
                    video.frame_times()
                    next(iter(video.sample([0.0])), None)
            except VideoError:
                pass


def test_long_streams_seek(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "long.mp4", numbers=range(NUM_FRAMES), options={"g": "10"}).read_bytes()
    path = write_stream(tmp_path / "v.dcm", clip, syntax=SYNTAXES["h264"], count=NUM_FRAMES, FrameTime="40")
    with open_video(path) as video:
        assert [read_number(frame.data) for frame in video.sample([0.4, 2.8])] == [10, 70]
        assert not video.problems
