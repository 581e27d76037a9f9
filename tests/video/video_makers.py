"""Clips whose frames carry their own number, in every container and with every quirk that the reader must bear."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

COLUMNS, ROWS = 4, 3
WIDTH, HEIGHT = 128, 96
_BITS = COLUMNS * ROWS - 1  # One block is the parity.


def paint(number: int, width: int = WIDTH, height: int = HEIGHT) -> npt.NDArray[np.uint8]:
    """Return an RGB picture of dark and bright blocks that spell ``number``, with a drifting texture on top."""
    bits = [(number >> k) & 1 for k in range(_BITS)]
    bits.append(sum(bits) % 2)
    blocks = np.array(bits).reshape(ROWS, COLUMNS)
    rows, columns = np.arange(height) * ROWS // height, np.arange(width) * COLUMNS // width
    luma = np.where(blocks[rows][:, columns], 205.0, 50.0)
    y, x = np.mgrid[0:height, 0:width]
    texture = 12 * np.sin((x + 3 * number) / 9.0) * np.cos((y - 2 * number) / 7.0)
    tint = np.array([6.0 * np.sin(number / 5), 0.0, 6.0 * np.cos(number / 5)])
    return np.clip(luma[..., None] + texture[..., None] + tint, 0, 255).astype(np.uint8)


def read_number(picture: npt.NDArray[np.uint8]) -> int:
    """Return the number that :func:`paint` drew; the picture may have been coded, resized, but not turned."""
    height, width = picture.shape[:2]
    bits = []
    for row in range(ROWS):
        for column in range(COLUMNS):
            top, left = row * height // ROWS, column * width // COLUMNS
            block = picture[
                top + height // ROWS // 4 : top + 3 * height // ROWS // 4,
                left + width // COLUMNS // 4 : left + 3 * width // COLUMNS // 4,
            ]
            bits.append(int(block.mean() > 127))
    assert bits[-1] == sum(bits[:-1]) % 2, f"no number can be read in this picture: {bits}"
    return sum(bit << k for k, bit in enumerate(bits[:-1]))


def write_clip(
    path: Path,
    *,
    codec: str = "libx264",
    numbers: Iterable[int] = range(60),
    fps: int | Fraction = 25,
    pts: Sequence[int] | None = None,
    time_base: Fraction | None = None,
    pixel_format: str = "yuv420p",
    options: dict[str, str] | None = None,
    container_format: str | None = None,
    container_options: dict[str, str] | None = None,
    size: tuple[int, int] = (WIDTH, HEIGHT),
    rotation: tuple[float, bool, bool] | None = None,
    audio: bool = False,
) -> Path:
    """Encode painted frames.

    Args:
        path: File to write; its suffix chooses the container unless ``container_format`` does.
        codec: Encoder.
        numbers: What to paint, one frame each.
        fps: Nominal rate.
        pts: Time stamps in units of ``time_base`` (default: every frame at the nominal rate).
        time_base: Clock of ``pts``; by default one tick per frame.
        pixel_format: As coded.
        options: Of the encoder.
        container_format: Name of the muxer.
        container_options: Of the muxer.
        size: Width and height.
        rotation: Counter-clockwise degrees, horizontal flip, vertical flip of the display matrix.
        audio: Add a tone beside the picture.
    """
    width, height = size
    with av.open(str(path), "w", format=container_format, options=container_options or {}) as container:
        stream: Any = container.add_stream(codec, rate=fps, options=options or {})
        stream.width, stream.height, stream.pix_fmt = width, height, pixel_format
        stream.thread_count = 1
        if rotation is not None:
            stream.set_display_rotation(*rotation)
        tick = time_base or 1 / Fraction(fps)
        stream.codec_context.time_base = tick
        sound: Any = container.add_stream("aac", rate=16000, layout="mono") if audio else None
        count = 0
        for count, number in enumerate(numbers, start=1):
            frame = av.VideoFrame.from_ndarray(paint(number, width, height), format="rgb24")
            frame.pts, frame.time_base = count - 1 if pts is None else pts[count - 1], tick
            container.mux(stream.encode(frame))
            if sound is not None and count % 4 == 0:
                _tone(container, sound, count * 640 - 2560, 2560)
        container.mux(stream.encode(None))
        if sound is not None:
            container.mux(sound.encode(None))
    return path


def _tone(container: Any, stream: Any, start: int, samples: int) -> None:
    wave = (8000 * np.sin(np.arange(start, start + samples) / 9)).astype(np.int16)[None]
    for first in range(0, samples, 1024):
        part = av.AudioFrame.from_ndarray(np.ascontiguousarray(wave[:, first : first + 1024]), "s16", "mono")
        part.sample_rate, part.pts = 16000, start + first
        container.mux(stream.encode(part))
