"""Writing frames to an mp4 file, reproducibly: equal frames give equal bytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
import numpy as np
from av.codec.context import Flags

from endofm.errors import InputError, VideoError
from endofm.files import atomic_path
from endofm.video.frames import UInt8Array

# One thread, because the number of threads changes the bits; parallel work is spread over files instead.
# cpu-independent, because x264's vector code for the macroblock tree gave different bits from one call to the next
# (observed at 64 x 64 pixels with x264 core 165).
CODECS: dict[str, dict[str, str]] = {
    "libx264": {"crf": "18", "preset": "veryfast", "x264-params": "threads=1:cpu-independent=1"},
    "mpeg4": {"qmin": "2", "qmax": "4"},
}
"""Options of the encoders, by name, in order of preference."""

# SMPTE 170M, the matrix of the conversion from RGB; written to the file so that players invert the same matrix.
BT601 = 6


def choose_codec() -> str:
    """Return the encoder that :func:`write_video` uses: ``"libx264"``, or ``"mpeg4"`` in a build without it.

    Raises:
        VideoError: If the FFmpeg libraries have neither.
    """
    for name in CODECS:
        if name in av.codecs_available:
            # The list does not distinguish decoders from encoders.
            try:
                av.codec.Codec(name, "w")
            except ValueError:
                # This build can only decode it.
                continue
            return name
    raise VideoError(f"this build of PyAV can encode neither of {', '.join(CODECS)}; install av from PyPI")


def _check(frame: object, shape: tuple[int, ...] | None, position: int, target: Path) -> UInt8Array:
    if not isinstance(frame, np.ndarray) or frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
        what = f"{frame.dtype} {frame.shape}" if isinstance(frame, np.ndarray) else type(frame).__name__
        raise InputError(f"{target}: frame {position} must be a uint8 array of shape (height, width, 3), got {what}")
    if shape is not None and frame.shape != shape:
        raise InputError(f"{target}: frame {position} has shape {frame.shape}, the first one {shape}")
    if 0 in frame.shape:
        raise InputError(f"{target}: frame {position} is empty, {frame.shape}")
    return frame


def write_video(
    path: str | Path,
    frames: UInt8Array | Iterable[UInt8Array],
    fps: float | Fraction,
    *,
    codec: str | None = None,
    options: Mapping[str, str] | None = None,
    comment: str = "",
) -> None:
    """Write frames as an mp4 file, at a constant rate.

    H.264 (constant rate factor 18) or, where that encoder is missing, MPEG-4 part 2; yuv420p; no time stamps or
    versions in the file, so that equal frames give equal bytes on one machine. An odd height or width is made even
    by repeating the last row or column, since 4:2:0 has no odd sizes. The file appears under its name only when it is
    complete.

    Args:
        path: File to create or replace, with the suffix ``.mp4``. Its folder is created.
        frames: uint8 ``(time, height, width, 3)`` RGB, or an iterable of ``(height, width, 3)`` frames, consumed one
            at a time.
        fps: Frames per second, > 0.
        codec: Encoder; None takes what :func:`choose_codec` returns.
        options: Options of the encoder, in place of those in :data:`CODECS`.
        comment: String for the file's metadata, e.g. that the frames are synthetic.

    Raises:
        InputError: If a frame has another shape than the first or is not uint8 RGB, there is no frame, ``fps`` is not
            positive, or the suffix is not ``.mp4``.
        VideoError: If the encoder is missing or fails.
    """
    path = Path(path)
    if path.suffix.lower() != ".mp4":
        raise InputError(f"{path}: videos are written as .mp4, got the suffix {path.suffix!r}")
    if not 0 < fps < float("inf"):
        raise InputError(f"{path}: fps must be a number > 0, got {fps!r}")
    codec = choose_codec() if codec is None else codec
    if codec not in CODECS:
        raise InputError(f"{path}: unknown codec {codec!r}; choose one of {', '.join(CODECS)}")
    iterator: Iterator[UInt8Array] = iter(frames)
    first = next(iterator, None)
    if first is None:
        raise InputError(f"{path}: there are no frames to write")
    first = _check(first, None, 0, path)
    options = CODECS[codec] if options is None else options
    with atomic_path(path) as temporary:
        try:
            _encode(temporary, path, chain([first], iterator), first.shape, Fraction(fps), codec, options, comment)
        except av.FFmpegError as error:
            raise VideoError(f"{path}: encoding with {codec} failed ({error})") from error


def _encode(
    temporary: Path,
    target: Path,
    frames: Iterable[UInt8Array],
    shape: tuple[int, ...],
    fps: Fraction,
    codec: str,
    options: Mapping[str, str],
    comment: str,
) -> None:
    height, width = shape[:2]
    even = ((0, height % 2), (0, width % 2), (0, 0))
    with av.open(str(temporary), "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        if comment:
            container.metadata["comment"] = comment
        # 65535 is the largest denominator that MPEG-4 part 2 stores.
        stream = container.add_stream(codec, rate=fps.limit_denominator(65535), options=dict(options))
        context = stream.codec_context
        context.width, context.height, context.pix_fmt = width + width % 2, height + height % 2, "yuv420p"
        context.thread_count = 1
        context.flags |= Flags.bitexact
        context.colorspace = context.color_primaries = context.color_trc = BT601
        for position, frame in enumerate(frames):
            data = _check(frame, shape, position, target)
            if height % 2 or width % 2:
                data = np.pad(data, even, mode="edge")
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(data), format="rgb24")
            picture.pts = position
            picture.time_base = 1 / Fraction(context.framerate)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
