"""Attacks on videos: fifteen containers, damaged in ten ways, judged against the undamaged frames.

Every source is encoded here from numbered pictures. A damaged copy may be refused, may be read with a report, or may
be read as if nothing had happened; in the last case every frame must still be there, at its time. Pixels that change
without a report are counted apart: a codec without checksums cannot know of them, and ``docs/video.md`` states how
often that happens by codec.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from random import Random

import av
import numpy as np
import numpy.typing as npt

from benchmarks.robustness.sandbox import Case, Outcome, generator

FRAMES, RATE, SIZE = 50, 25, (160, 112)


@dataclass(frozen=True)
class Source:
    """One kind of file under attack.

    Attributes:
        container: Muxer.
        codec: Encoder.
        pixel_format: As coded.
        options: Of the encoder.
        states_length: Whether the file states how many frames it has or where it ends. Without that, a file that is
            cut at its end is a shorter file, which cannot be noticed.
        rate_once: Whether the rate is a single number in the header, which nothing else in the file contradicts.
    """

    container: str
    codec: str
    pixel_format: str = "yuv420p"
    options: tuple[tuple[str, str], ...] = ()
    states_length: bool = True
    rate_once: bool = False


SOURCES = {
    "mp4/h264": Source("mp4", "libx264", options=(("g", "12"), ("bf", "2"))),
    "mov/mjpeg": Source("mov", "mjpeg", "yuvj420p"),
    "mp4/hevc": Source("mp4", "libx265", options=(("x265-params", "keyint=12:pools=1:log-level=none"),)),
    "mp4/av1": Source("mp4", "libsvtav1", options=(("preset", "12"), ("g", "12"))),
    "mkv/h264": Source("matroska", "libx264", options=(("g", "12"),)),
    "webm/vp8": Source("webm", "libvpx", options=(("g", "12"), ("deadline", "realtime"))),
    "webm/vp9": Source("webm", "libvpx-vp9", options=(("g", "12"), ("deadline", "realtime"), ("cpu-used", "8"))),
    "avi/mjpeg": Source("avi", "mjpeg", "yuvj420p"),
    "avi/mpeg4": Source("avi", "mpeg4", options=(("g", "12"),)),
    "ts/h264": Source("mpegts", "libx264", options=(("g", "12"),), states_length=False),
    "ps/mpeg2": Source("vob", "mpeg2video", options=(("g", "12"), ("bf", "2")), states_length=False),
    "asf/wmv2": Source("asf", "wmv2", options=(("g", "12"),)),
    "ogg/vp8": Source("ogg", "libvpx", options=(("g", "12"), ("deadline", "realtime"))),
    "gif": Source("gif", "gif", "rgb8"),
    "flv": Source("flv", "flv", options=(("g", "12"),)),
    "3gp/mpeg4": Source("3gp", "mpeg4", options=(("g", "12"),)),
    "nut/mpeg4": Source("nut", "mpeg4", options=(("g", "12"),)),
    "mxf/mpeg2": Source("mxf", "mpeg2video", options=(("g", "12"), ("bf", "2"))),
    "ivf/vp8": Source("ivf", "libvpx", options=(("g", "12"), ("deadline", "realtime")), rate_once=True),
    "raw h264": Source("h264", "libx264", options=(("g", "12"),), states_length=False),
}
"""Sources under attack, by the name of their row in the table."""


def picture(index: int) -> npt.NDArray[np.uint8]:
    """Return a picture, ``(height, width, 3)`` RGB, that differs clearly from those around it."""
    width, height = SIZE
    y, x = np.mgrid[:height, :width]
    red = 127 + 100 * np.sin((x + 9 * index) / 23.0)
    green = 127 + 100 * np.cos((y - 7 * index) / 17.0)
    blue = 255 * ((x // 32 + y // 28 + index) % 4) / 3
    return np.stack([red, green, blue], -1).clip(0, 255).astype(np.uint8)


@cache
def encoded(name: str) -> bytes:
    """Return an undamaged file."""
    source, file = SOURCES[name], io.BytesIO()
    with av.open(file, "w", format=source.container) as out:
        stream = out.add_stream(source.codec, rate=RATE, options=dict(source.options))
        stream.width, stream.height, stream.pix_fmt = *SIZE, source.pixel_format
        stream.codec_context.time_base = Fraction(1, RATE)
        stream.codec_context.thread_count = 1
        for index in range(FRAMES):
            frame = av.VideoFrame.from_ndarray(picture(index), format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, RATE)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return file.getvalue()


@cache
def truth(name: str) -> tuple[npt.NDArray[np.float64], list[npt.NDArray[np.uint8]]]:
    """Return times in seconds and pictures of the undamaged file, as the package reads them."""
    from endofm.video.open import open_video

    with open_video(encoded(name)) as video:
        frames = list(video)
        problems = video.problems
    assert not problems, f"{name}: the undamaged file is reported as damaged: {problems}"
    return np.array([frame.pts_seconds for frame in frames]), [_thumbnail(frame.data) for frame in frames]


def _thumbnail(data: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    return data[::4, ::4].copy()


def _flip_bits(data: bytearray, rng: Random) -> bytearray:
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        position = rng.randrange(len(data))
        data[position] ^= 1 << rng.randrange(8)
    return data


def _flip_header(data: bytearray, rng: Random) -> bytearray:
    for _ in range(rng.choice((1, 2))):
        data[rng.randrange(min(len(data), 600))] ^= 1 << rng.randrange(8)
    return data


def _flip_trailer(data: bytearray, rng: Random) -> bytearray:
    for _ in range(rng.choice((1, 2))):
        data[len(data) - 1 - rng.randrange(min(len(data), 1500))] ^= 1 << rng.randrange(8)
    return data


def _overwrite(data: bytearray, rng: Random) -> bytearray:
    start = rng.randrange(len(data))
    stop = min(len(data), start + rng.choice((4, 16, 200, 4000)))
    data[start:stop] = rng.randbytes(stop - start)
    return data


def _zero(data: bytearray, rng: Random) -> bytearray:
    start = rng.randrange(len(data))
    stop = min(len(data), start + rng.choice((64, 512, 4096)))
    data[start:stop] = bytes(stop - start)
    return data


def _cut_end(data: bytearray, rng: Random) -> bytearray:
    return data[: rng.randrange(1, len(data))]


def _cut_start(data: bytearray, rng: Random) -> bytearray:
    return data[rng.randrange(1, len(data)) :]


def _remove(data: bytearray, rng: Random) -> bytearray:
    start = rng.randrange(len(data))
    del data[start : start + rng.choice((1, 7, 188, 3000))]
    return data


def _repeat(data: bytearray, rng: Random) -> bytearray:
    start = rng.randrange(len(data))
    stop = start + rng.choice((1, 7, 188, 3000))
    return data[:stop] + data[start:]


def _swap(data: bytearray, rng: Random) -> bytearray:
    size = min(rng.choice((16, 256, 2048)), len(data) // 4)
    first, second = rng.randrange(len(data) // 2 - size), rng.randrange(len(data) // 2, len(data) - size)
    data[first : first + size], data[second : second + size] = (
        data[second : second + size],
        data[first : first + size],
    )
    return data


MUTATIONS: dict[str, Callable[[bytearray, Random], bytearray]] = {
    "flipped bits": _flip_bits,
    "flipped header": _flip_header,
    "flipped trailer": _flip_trailer,
    "overwritten": _overwrite,
    "zeros": _zero,
    "cut end": _cut_end,
    "cut start": _cut_start,
    "removed": _remove,
    "repeated": _repeat,
    "swapped": _swap,
}
"""Ways to damage a file, by name."""


def cases(count: int, seed: int) -> Iterator[Case]:
    """Yield attacks on videos, spread evenly over sources and kinds of damage."""
    names, kinds = list(SOURCES), list(MUTATIONS)
    for name in names:
        truth(name)  # Before the first fork, so that children inherit it.
    for number in range(count):
        name, kind = names[number % len(names)], kinds[(number // len(names)) % len(kinds)]
        yield Case(f"video {name}", f"{kind} #{number} seed {seed}", _attack(name, kind, number, seed))


def _attack(name: str, kind: str, number: int, seed: int) -> Callable[[], tuple[Outcome, str]]:
    def run() -> tuple[Outcome, str]:
        damaged = MUTATIONS[kind](bytearray(encoded(name)), generator(seed, "video", number))
        return judge(name, bytes(damaged))

    return run


def judge(name: str, damaged: bytes) -> tuple[Outcome, str]:
    """Read a damaged file to its end and compare it with the undamaged one.

    Frames that are lost or move in time without a report are silent damage, always; a shorter file whose container
    states no length cannot be told from one that was meant so, if what it holds is intact.
    """
    from endofm.video.open import open_video

    times, pictures = truth(name)
    seen: list[float] = []
    thumbnails: list[npt.NDArray[np.uint8]] = []
    with open_video(damaged) as video:
        for frame in video:
            seen.append(frame.pts_seconds)
            thumbnails.append(_thumbnail(frame.data))
            if len(seen) > 20 * FRAMES:
                break
        announced = video.frame_times()
        end = video.end_seconds()
        problems = video.problems
    if problems:
        return Outcome.REPORTED, problems[0]
    detail = f"{len(seen)} frames, end {end:.3f} s"
    count = len(seen)
    even = np.allclose(seen, times[:count], atol=0.5 / RATE) if count <= len(times) else False
    # Times that are those of the file but for one factor.
    scaled = np.array(seen) * (times[-1] / max(seen[-1], 1e-9))
    if not even and SOURCES[name].rate_once and count == len(times) and np.allclose(scaled, times):
        return Outcome.UNDETECTABLE, f"another rate: {detail}"
    if not even or len(announced) != count or end > seen[-1] + 2.0:
        return Outcome.SILENT, detail
    if count == len(times):
        changed = _changed(thumbnails, pictures)
        # Pixels only: no container says what they should be, and few codecs can tell.
        return (Outcome.UNDETECTABLE, f"{changed} pictures changed") if changed > 1 else (Outcome.OK, "")
    shorter = min(_changed(thumbnails, part) for part in (pictures[:count], pictures[-count:]))
    if not SOURCES[name].states_length and shorter <= 1:
        return Outcome.UNDETECTABLE, f"a shorter file: {detail}"
    return Outcome.SILENT, detail


def _changed(seen: list[npt.NDArray[np.uint8]], expected: list[npt.NDArray[np.uint8]]) -> int:
    """Return how many pictures differ visibly."""
    return sum(
        found.shape != wanted.shape or float(np.abs(found.astype(np.int16) - wanted).mean()) > 12
        for found, wanted in zip(seen, expected, strict=True)
    )
