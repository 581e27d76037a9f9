"""Conversion of decoded pictures to upright RGB, by the colour matrix, range and orientation that the stream states."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import cast

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Interpolation, VideoReformatter

from endofm.video.frames import CodedPicture, UInt8Array

_BT709, _FCC, _BT601, _SMPTE240M, _BT2020 = 1, 4, 5, 7, 9
"""Luma-chroma matrices in swscale's numbering (SWS_CS_*)."""

# By the matrix coefficients that streams carry (ITU-T H.273, table 4).
_MATRICES = {1: _BT709, 4: _FCC, 5: _BT601, 6: _BT601, 7: _SMPTE240M, 9: _BT2020, 10: _BT2020}


def matrix_of(frame: VideoFrame) -> int:
    """Return the luma-chroma matrix of a frame; unless it states one, BT.709 for HD sizes and BT.601 below.

    Players make the same guess; swscale itself would take BT.601 for every size.
    """
    known = _MATRICES.get(int(frame.colorspace))
    if known is not None:
        return known
    return _BT709 if frame.width >= 1280 or frame.height > 576 else _BT601


def has_full_range(frame: VideoFrame) -> bool:
    """Return whether luma fills 0 to 255 and not 16 to 235."""
    return frame.format.name.startswith("yuvj") or frame.color_range == ColorRange.JPEG


def guesses_hd_matrix(frame: VideoFrame) -> bool:
    """Return whether :func:`matrix_of` takes BT.709 for a frame because of its size alone."""
    coded_as_rgb = frame.format.is_rgb or frame.format.has_palette
    return not coded_as_rgb and int(frame.colorspace) not in _MATRICES and matrix_of(frame) == _BT709


@dataclass(frozen=True)
class Orientation:
    """Orientation of a coded picture: it becomes upright when transposed first and flipped then.

    Attributes:
        transpose: Swap rows and columns.
        flip_rows: Flip top and bottom.
        flip_columns: Flip left and right.
    """

    transpose: bool = False
    flip_rows: bool = False
    flip_columns: bool = False

    @property
    def clockwise(self) -> int:
        """Clockwise rotation in degrees (0, 90, 180, 270), after flipping left and right if the picture is mirrored."""
        if self.transpose:
            return 90 if self.flip_columns else 270
        return 180 if self.flip_rows else 0

    @property
    def mirrored(self) -> bool:
        """True if the picture is mirrored, apart from any rotation."""
        # Each of the three operations reverses handedness; an odd number of them leaves it reversed.
        return (self.transpose + self.flip_rows + self.flip_columns) % 2 == 1

    def apply(self, picture: UInt8Array) -> UInt8Array:
        """Return the upright picture, ``(height, width, 3)``."""
        if self.transpose:
            picture = picture.transpose(1, 0, 2)
        return picture[:: -1 if self.flip_rows else 1, :: -1 if self.flip_columns else 1]


def orientation(frame: VideoFrame) -> Orientation:
    """Read the display matrix of a frame, rounded to quarter turns."""
    try:
        data = frame.side_data["DISPLAYMATRIX"]  # type: ignore[typeddict-item]
    except KeyError:
        return Orientation()
    except ValueError:
        # PyAV fails on kinds of side data that are newer than itself, but still knows the angle.
        return _quarter_turn(frame.rotation)
    # Row vectors: (x, y, 1) of the coded picture times the matrix is the position on screen (ISO/IEC 14496-12, 6.2.2).
    matrix = np.frombuffer(bytes(data), np.int32, count=9).reshape(3, 3).astype(np.float64)
    (a, b), (c, d) = matrix[:2, :2]
    # The larger diagonal decides between upright and transposed, the signs between the flips.
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return Orientation(flip_rows=bool(d < 0), flip_columns=bool(a < 0))
    return Orientation(transpose=True, flip_rows=bool(b < 0), flip_columns=bool(c < 0))


def _quarter_turn(counter_clockwise: int) -> Orientation:
    turns = round(counter_clockwise / 90) % 4
    return Orientation(transpose=turns % 2 == 1, flip_rows=turns in (1, 2), flip_columns=turns in (2, 3))


class RgbConverter:
    """Converts decoded pictures to upright RGB arrays; reuses swscale's tables between pictures.

    Args:
        width: Width in pixels to which pictures are resized before they are turned upright.
        height: Height in pixels before that turn.
    """

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self._reformatter, self._lock = VideoReformatter(), threading.Lock()
        self._turned: tuple[int, Orientation] | None = None

    def __call__(self, frame: VideoFrame) -> UInt8Array:
        """Return uint8 ``(height, width, 3)``, RGB, full range, contiguous."""
        # Frames may be converted by another thread than the one that reads on.
        with self._lock:
            converted = self._reformatter.reformat(
                frame,
                width=self.width,
                height=self.height,
                format="rgb24",
                src_colorspace=matrix_of(frame),
                src_color_range=ColorRange.JPEG if has_full_range(frame) else frame.color_range,
                dst_color_range=ColorRange.JPEG,
                interpolation=Interpolation.BILINEAR,
                threads=1,
            )
        pixels = cast(UInt8Array, converted.to_ndarray())
        return np.ascontiguousarray(self.orientation(frame).apply(pixels))

    def orientation(self, frame: VideoFrame) -> Orientation:
        """Return the frame's orientation; its matrix is read only when the angle differs from the last frame's.

        PyAV ties a frame and its side data in a reference cycle, so that every frame whose matrix was read stays in
        memory until Python's garbage collector runs; so few objects are created per frame that this takes hundreds of
        frames.
        """
        if self._turned is None or self._turned[0] != frame.rotation:
            self._turned = frame.rotation, orientation(frame)
        return self._turned[1]


def coded_picture(frame: VideoFrame, converter: RgbConverter) -> CodedPicture | None:
    """Return a decoded picture as it is coded; None if it has another form, is turned or has another size.

    Args:
        frame: The decoded picture.
        converter: What converts it to RGB.
    """
    if frame.format.name not in ("yuv420p", "yuvj420p") or converter.orientation(frame) != Orientation():
        return None
    if (frame.width, frame.height) != (converter.width, converter.height):
        return None
    luma, blue, red = (
        np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: plane.height, : plane.width]  # type: ignore[call-overload]
        for plane in frame.planes
    )
    return CodedPicture((luma, blue, red), matrix_of(frame), has_full_range(frame), lambda: converter(frame))
