"""Overlay videos: frames, times and sound of the source, no incomplete file, constant memory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from endofm.errors import InputError
from endofm.video.frames import Frame, UInt8Array
from endofm.video.open import open_video
from endofm.video.overlay import paint_video
from helpers.video_makers import paint, read_number

UNEVEN = [0, 40, 80, 160, 170, 300, 500, 520, 560, 900, 1000, 1300, 1333]
RATE = 44100


def write_with_sound(
    path: Path,
    *,
    audio: str,
    pts: list[int],
    tick: Fraction,
    video: str = "libx264",
    late: float = 0.0,
    rate: int = RATE,
) -> None:
    """A numbered video whose sound is a beep of 50 ms in each half second, from 0.1 s on."""
    with av.open(str(path), "w") as container:
        pictures: Any = container.add_stream(video, rate=25, options={"bf": "2"} if video == "libx264" else {})
        pictures.width, pictures.height, pictures.pix_fmt = 128, 96, "yuv420p"
        pictures.codec_context.time_base = tick
        sound: Any = container.add_stream(audio, rate=rate)
        sound.layout = "mono"
        for number, stamp in enumerate(pts):
            frame = av.VideoFrame.from_ndarray(paint(number), format="rgb24")
            frame.pts, frame.time_base = stamp, tick
            container.mux(pictures.encode(frame))
        container.mux(pictures.encode(None))
        wave = np.zeros(int(float((pts[-1] - pts[0]) * tick) * rate) + rate // 4, np.float32)
        for start in range(0, len(wave), rate // 2):
            beep = wave[start + rate // 10 : start + rate // 10 + rate // 20]
            beep[:] = 0.8 * np.sin(2 * np.pi * 1000 * np.arange(len(beep)) / rate)
        samples = av.AudioFrame.from_ndarray(wave[None], format="flt", layout="mono")
        samples.sample_rate, samples.pts, samples.time_base = rate, round(late * rate), Fraction(1, rate)
        resampler = av.AudioResampler(
            format=sound.codec_context.format.name,
            layout="mono",
            rate=rate,
            frame_size=sound.codec_context.frame_size or 1024,
        )
        for part in [*resampler.resample(samples), *resampler.resample(None)]:
            container.mux(sound.encode(part))
        container.mux(sound.encode(None))


def beeps(path: Path) -> list[float]:
    """When the beeps begin, in seconds after the first picture."""
    with av.open(str(path)) as container:
        picture = next(container.decode(video=0))
        first = float(picture.time or 0)
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        resampler = av.AudioResampler(format="flt", layout="mono", rate=stream.rate)
        frames = list(container.decode(stream))
        start = float(frames[0].time or 0)
        wave = np.concatenate([part.to_ndarray()[0] for frame in frames for part in resampler.resample(frame)])
    loud = np.flatnonzero(np.abs(wave) > 0.3)
    begins = loud[np.diff(loud, prepend=-stream.rate) > stream.rate // 8]
    return [start + int(position) / stream.rate - first for position in begins]


def packets(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


def invert(frame: Frame) -> UInt8Array:
    return 255 - frame.data


CASES: dict[str, dict[str, Any]] = {
    "aac.mp4": {"audio": "aac", "pts": UNEVEN, "tick": Fraction(1, 1000)},
    "opus.mkv": {"audio": "libopus", "pts": UNEVEN, "tick": Fraction(1, 1000), "late": 0.1, "rate": 48000},
    "late.mkv": {"audio": "aac", "pts": [500 + p for p in UNEVEN], "tick": Fraction(1, 1000), "late": 0.5},
    "pcm.avi": {"audio": "pcm_s16le", "pts": list(range(40)), "tick": Fraction(1, 25), "video": "mpeg4"},
    "mp2.ts": {"audio": "mp2", "pts": list(range(40)), "tick": Fraction(1, 25)},
    # mp4 cannot hold this codec: coded anew.
    "pcm_u8.avi": {"audio": "pcm_u8", "pts": list(range(40)), "tick": Fraction(1, 25), "video": "mpeg4", "rate": 8000},
}


@pytest.mark.parametrize("name", CASES)
def test_frames_times_and_sound_are_kept(tmp_path: Path, name: str) -> None:
    case, source, target = CASES[name], tmp_path / name, tmp_path / "painted.mp4"
    write_with_sound(source, **case)
    with open_video(source) as video:
        report = paint_video(video, target, invert, progress=False)
        times, end = video.frame_times(), video.end_seconds()
        originals = [frame.data for frame in video]
    assert report.frames == len(case["pts"])
    assert report.sound_tracks == 1
    assert not report.problems
    with open_video(target) as painted:
        np.testing.assert_allclose(painted.frame_times(), times, rtol=0, atol=1e-6)
        assert painted.end_seconds() == pytest.approx(end, abs=1e-3)
        for number, (frame, original) in enumerate(zip(painted, originals, strict=True)):
            assert read_number(255 - frame.data) == number
            assert np.abs(frame.data.astype(int) - (255 - original)).mean() < 4
    np.testing.assert_allclose(beeps(target), beeps(source), rtol=0, atol=2e-3)
    if name not in ("pcm_u8.avi", "pcm.avi"):
        assert packets(target) == packets(source)


def test_sound_can_be_left_out(tmp_path: Path) -> None:
    write_with_sound(tmp_path / "in.mp4", **CASES["aac.mp4"])
    with open_video(tmp_path / "in.mp4") as video:
        assert paint_video(video, tmp_path / "out.mp4", invert, sound=False, progress=False).sound_tracks == 0
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert not container.streams.audio


@pytest.mark.parametrize("fps", [10, 29.97])
def test_arrays_of_odd_sizes(tmp_path: Path, fps: float) -> None:
    frames = np.stack([paint(number, 101, 75) for number in range(9)])
    with open_video(frames, fps=fps) as video:
        paint_video(video, tmp_path / "out.mp4", lambda frame: frame.data, progress=False)
    with open_video(tmp_path / "out.mp4") as painted:
        assert (painted.metadata.height, painted.metadata.width) == (76, 102)
        np.testing.assert_allclose(painted.frame_times(), np.arange(9) / fps, rtol=0, atol=1e-4)
        assert [read_number(frame.data[:75, :101]) for frame in painted] == list(range(9))


def test_an_error_while_drawing_leaves_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "out.mp4"
    target.write_bytes(b"before")

    def draw(frame: Frame) -> UInt8Array:
        if frame.pts_seconds > 0.2:
            raise RuntimeError("out of paint")
        return frame.data

    with open_video(np.zeros((9, 32, 32, 3), np.uint8), fps=10) as video, pytest.raises(RuntimeError, match="paint"):
        paint_video(video, target, draw, progress=False)
    assert target.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize(
    ("picture", "message"),
    [(np.zeros((3, 4, 3), np.uint8), r"uint8 \(3, 4, 3\)"), (np.zeros((32, 32, 3)), "float64"), (None, "NoneType")],
)
def test_what_is_drawn_is_checked(tmp_path: Path, picture: Any, message: str) -> None:
    with open_video(np.zeros((2, 32, 32, 3), np.uint8)) as video, pytest.raises(InputError, match=message):
        paint_video(video, tmp_path / "out.mp4", lambda frame: picture, progress=False)


def test_a_still_is_painted_as_a_picture(tmp_path: Path) -> None:
    picture = paint(5)
    with open_video(picture) as still:
        report = paint_video(still, tmp_path / "out.png", invert)
    assert (report.frames, report.sound_tracks) == (1, 0)
    with Image.open(tmp_path / "out.png") as written:
        np.testing.assert_array_equal(np.asarray(written), 255 - picture)
    with open_video(np.stack([picture] * 3)) as video, pytest.raises(InputError, match=r"single picture.* has 3; use"):
        paint_video(video, tmp_path / "two.png", invert)
    assert not (tmp_path / "two.png").exists()


def test_targets_are_checked(tmp_path: Path) -> None:
    write_with_sound(tmp_path / "in.mp4", **CASES["aac.mp4"])
    with open_video(tmp_path / "in.mp4") as video:
        with pytest.raises(InputError, match=r"written as .mp4"):
            paint_video(video, tmp_path / "out.avi", invert)
        with pytest.raises(InputError, match="this is the video itself"):
            paint_video(video, tmp_path / "in.mp4", invert)


SCRIPT = """
import resource, sys
import numpy as np
from endofm.video.open import open_video
from endofm.video.overlay import paint_video

frames = np.broadcast_to(np.zeros((1, 240, 320, 3), np.uint8), (int(sys.argv[2]), 240, 320, 3))
with open_video(frames, fps=25) as video:
    paint_video(video, sys.argv[1], lambda frame: 255 - frame.data, progress=False)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_does_not_grow_with_the_length(tmp_path: Path) -> None:
    peaks = []
    for count in (50, 500):
        command = [sys.executable, "-c", SCRIPT, str(tmp_path / "out.mp4"), str(count)]
        peaks.append(int(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
    # 450 frames of 320 x 240 are 100 MiB.
    assert peaks[1] - peaks[0] < 16 * 1024


def test_a_kill_leaves_no_half_video(tmp_path: Path) -> None:
    target = tmp_path / "out.mp4"
    command = [sys.executable, "-c", SCRIPT, str(target), "100000"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while not list(tmp_path.iterdir()):
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGKILL)
    assert not target.exists()
