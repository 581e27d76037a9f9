"""Clips whose frames carry their own number, in every container and with every quirk that the reader must bear."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

NUM_FRAMES = 80
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
    colour: tuple[int, int] | None = None,
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
        colour: Matrix (ITU-T H.273) and range (1 limited, 2 full) that pictures are converted to and marked with.
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
        marks: dict[str, Any] = {}
        if colour is not None:
            stream.codec_context.colorspace, stream.codec_context.color_range = colour
            marks = {"dst_colorspace": colour[0], "dst_color_range": colour[1], "src_color_range": 2}
        for position, number in enumerate(numbers):
            frame = av.VideoFrame.from_ndarray(paint(number, width, height), format="rgb24")
            if marks:
                frame = frame.reformat(format=pixel_format, **marks)
            frame.pts, frame.time_base = position if pts is None else pts[position], tick
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


_X264_OPEN = {"x264-params": "open-gop=1:bframes=3:keyint=20:min-keyint=20:scenecut=0"}
_X265 = "keyint=20:min-keyint=20:bframes=3:pools=1:frame-threads=1:log-level=none"

CLIPS: dict[str, dict[str, Any]] = {
    "h264.mp4": {"options": {"bf": "3", "g": "20"}},
    "h264_open_gop.mp4": {"options": _X264_OPEN},
    "h264_fragmented.mp4": {
        "options": {"bf": "2", "g": "20"},
        "container_options": {"movflags": "frag_keyframe+empty_moov"},
    },
    "h264_intra_refresh.mp4": {"options": {"x264-params": "intra-refresh=1:keyint=20:bframes=0"}},
    "h264_interlaced.ts": {"options": {"x264-params": "interlaced=1:tff=1:bframes=2:keyint=20"}},
    "h264.mkv": {"options": {"bf": "3", "g": "20"}},
    "h264.ts": {"options": {"bf": "3", "g": "20"}},
    "h264_open_gop.ts": {"options": _X264_OPEN},
    "h264_wrap.ts": {"options": {"bf": "2", "g": "20"}, "container_options": {"output_ts_offset": "95441.5"}},
    "h264.avi": {"options": {"bf": "3", "g": "20"}},
    "h264.flv": {"options": {"bf": "2", "g": "20"}},
    "raw.h264": {"options": {"bf": "3", "g": "20"}, "container_format": "h264"},
    "h264_10bit.mkv": {"pixel_format": "yuv420p10le", "options": {"bf": "2", "g": "20"}},
    "hevc_10bit.mp4": {"codec": "libx265", "pixel_format": "yuv420p10le", "options": {"x265-params": _X265}},
    "hevc_open_gop.ts": {"codec": "libx265", "options": {"x265-params": _X265 + ":open-gop=1"}},
    "mpeg2.ts": {"codec": "mpeg2video", "options": {"bf": "2", "g": "12"}},
    "mpeg2.mpg": {"codec": "mpeg2video", "options": {"bf": "2", "g": "12"}, "container_format": "mpeg"},
    "mpeg2_film.vob": {
        "codec": "mpeg2video",
        "fps": Fraction(24000, 1001),
        "options": {"bf": "2", "g": "15"},
        "container_format": "vob",
    },
    "mpeg1.mpg": {"codec": "mpeg1video", "options": {"bf": "2", "g": "12"}, "container_format": "mpeg"},
    "mpeg4.avi": {"codec": "mpeg4", "options": {"bf": "2", "g": "12"}},
    "mpeg4.mp4": {"codec": "mpeg4", "options": {"bf": "2", "g": "12"}},
    "mjpeg.avi": {"codec": "mjpeg", "pixel_format": "yuvj420p"},
    "wmv2.wmv": {"codec": "wmv2", "options": {"g": "20"}},
    "vp8.webm": {
        "codec": "libvpx",
        "options": {"b": "400k", "g": "20", "deadline": "realtime", "cpu-used": "4"},
    },
    "vp9_odd.webm": {
        "codec": "libvpx-vp9",
        "size": (131, 97),
        "options": {"b": "400k", "g": "20", "deadline": "realtime", "cpu-used": "8"},
    },
    "av1.mkv": {"codec": "libsvtav1", "options": {"g": "20", "preset": "10", "crf": "8", "svtav1-params": "lp=1"}},
    "prores.mov": {"codec": "prores", "pixel_format": "yuv422p10le"},
    "rle_alpha.mov": {"codec": "qtrle", "pixel_format": "argb"},
    "ffv1_odd.mkv": {"codec": "ffv1", "size": (131, 97)},
    "grey.mkv": {"codec": "ffv1", "pixel_format": "gray"},
    "palette.gif": {"codec": "gif", "pixel_format": "rgb8"},
    "animated.png": {"codec": "apng", "pixel_format": "rgb24", "container_format": "apng"},
}
"""Every container and coding that :func:`write_clip` can make and the reader must read exactly."""
