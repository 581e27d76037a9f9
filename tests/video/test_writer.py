"""Writing mp4 files: frames and times survive, equal frames give equal bytes, no incomplete file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from endofm.errors import InputError
from endofm.video.frames import UInt8Array
from endofm.video.writer import choose_codec, write_video


def smooth_clip(num_frames: int, height: int, width: int) -> UInt8Array:
    """Slowly moving colour gradients, which a lossy codec keeps almost exactly."""
    t, y, x = np.mgrid[0:num_frames, 0:height, 0:width].astype(np.float64)
    channels = [
        128 + 80 * np.sin(x / 19 + t / 9),
        110 + 60 * np.cos(y / 15 - t / 7),
        90 + 50 * np.sin((x + y) / 31 + t / 5),
    ]
    return np.stack(channels, axis=-1).astype(np.uint8)


def read(path: Path) -> tuple[UInt8Array, list[float], Fraction]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = list(container.decode(stream))
        rate = stream.average_rate
    assert rate is not None
    return (
        np.stack([f.to_ndarray(format="rgb24") for f in frames]),
        [float(f.time or 0) for f in frames],
        Fraction(rate),
    )


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
@pytest.mark.parametrize("fps", [25, 29.97, Fraction(30000, 1001), 12.5])
def test_frames_and_times_come_back(tmp_path: Path, codec: str, fps: float | Fraction) -> None:
    clip = smooth_clip(12, 48, 64)
    write_video(tmp_path / "a.mp4", clip, fps, codec=codec)
    data, times, rate = read(tmp_path / "a.mp4")
    assert data.shape == clip.shape
    assert np.abs(data.astype(int) - clip).mean() < 3
    assert float(rate) == pytest.approx(float(fps), rel=1e-3)
    np.testing.assert_allclose(times, np.arange(12) / float(fps), rtol=1e-3)


def test_equal_frames_give_equal_bytes(tmp_path: Path) -> None:
    clip = smooth_clip(20, 64, 64)
    digests = set()
    for _ in range(10):
        write_video(tmp_path / "a.mp4", clip, 25)
        digests.add(hashlib.sha256((tmp_path / "a.mp4").read_bytes()).hexdigest())
    assert len(digests) == 1


def test_odd_sizes_repeat_the_last_row_and_column(tmp_path: Path) -> None:
    clip = smooth_clip(5, 33, 47)
    write_video(tmp_path / "odd.mp4", clip, 10)
    data, _, _ = read(tmp_path / "odd.mp4")
    assert data.shape == (5, 34, 48, 3)
    assert np.abs(data[:, :33, :47].astype(int) - clip).mean() < 3
    assert np.abs(data[:, 33, :47].astype(int) - clip[:, 32]).mean() < 4


def test_an_iterator_is_consumed_and_the_previous_file_replaced(tmp_path: Path) -> None:
    target = tmp_path / "new" / "a.mp4"
    write_video(target, smooth_clip(3, 32, 32), 10)
    write_video(target, iter(smooth_clip(7, 32, 32)), 10)
    assert len(read(target)[0]) == 7
    assert [p.name for p in target.parent.iterdir()] == ["a.mp4"]


def test_a_failure_midway_leaves_nothing(tmp_path: Path) -> None:
    def frames() -> Iterator[UInt8Array]:
        yield from smooth_clip(4, 32, 32)
        yield smooth_clip(1, 16, 32)[0]

    with pytest.raises(InputError, match="frame 4 has shape"):
        write_video(tmp_path / "a.mp4", frames(), 10)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("frames", "fps", "name", "message"),
    [
        (np.zeros((0, 8, 8, 3), np.uint8), 25, "a.mp4", "no frames"),
        (np.zeros((2, 8, 8, 3), np.float32), 25, "a.mp4", "must be a uint8"),
        (np.zeros((2, 8, 8), np.uint8), 25, "a.mp4", "must be a uint8"),
        (np.zeros((2, 8, 8, 3), np.uint8), 0, "a.mp4", "fps"),
        (np.zeros((2, 8, 8, 3), np.uint8), float("nan"), "a.mp4", "fps"),
        (np.zeros((2, 8, 8, 3), np.uint8), 25, "a.avi", "suffix"),
    ],
)
def test_bad_input_is_refused(tmp_path: Path, frames: UInt8Array, fps: float, name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        write_video(tmp_path / name, frames, fps)
    assert list(tmp_path.iterdir()) == []


def test_the_wheel_from_pypi_has_h264() -> None:
    assert choose_codec() == "libx264"
