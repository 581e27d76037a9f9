"""DICOM files with moving pictures: what their header says of pixels and times, and where the coded frames are.

Only the attributes listed here are read, so that no name, number or date of a patient can reach a result.
"""

from __future__ import annotations

import io
import math
import re
import struct
import warnings
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

import numpy as np

from endofm.errors import VideoError, cause, require_extra
from endofm.video.container import MediaSource
from endofm.video.frames import Float64Array

_PIXEL_ATTRIBUTES = (
    *("Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "BitsAllocated"),
    *("BitsStored", "HighBit", "PixelRepresentation", "NumberOfFrames", "ExtendedOffsetTable"),
)
_TIME_ATTRIBUTES = ("FrameIncrementPointer", "FrameTime", "FrameTimeVector", "CineRate", "RecommendedDisplayFrameRate")

# MPEG-2, H.264 and HEVC (PS3.5, A.4.5 to A.4.11); a further ".1" says that the stream may be in several fragments.
_VIDEO_SYNTAXES = tuple(f"1.2.840.10008.1.2.4.{number}" for number in range(100, 109))

# Of files from before there was a file header.
_DEFAULT_SYNTAX = "1.2.840.10008.1.2"

_PIXEL_DATA = 0x7FE00010
_FRAME_TIME_VECTOR = 0x00181065
_ITEM, _SEQUENCE_END = (0xFFFE, 0xE000), (0xFFFE, 0xE0DD)
_UNDEFINED_LENGTH = 0xFFFFFFFF

_SLOWEST, _FASTEST = Fraction(1, 3600), Fraction(100_000)

# A frame time in whole milliseconds is taken for a rounded one if the rate beside it would round to it: 33 ms and 30
# frames per second. A second an hour is 0.03 %, and rounding 1 %.
_ROUNDED_MS = Fraction(1, 2)
_SAME_RATE = 0.01


class Piece(NamedTuple):
    """Bytes of a file.

    Attributes:
        position: Of the first one.
        size: Number of bytes.
    """

    position: int
    size: int


@dataclass(frozen=True)
class FrameTiming:
    """Times of the frames of a DICOM object.

    Attributes:
        step: Seconds from frame to frame, or of those after the increments.
        increments: Seconds from each frame to the next, if they differ; else empty.
    """

    step: Fraction
    increments: tuple[float, ...] = ()

    def end(self, count: int) -> float:
        """Return the end of ``count`` frames in seconds; a header may state any number of them."""
        known = self.increments[:count]
        return sum(known) + float(self.step * (count - len(known)))

    def times(self, count: int) -> Float64Array:
        """Return the times of ``count`` frames, float64 ``(count + 1,)`` seconds; the last is the end of the video."""
        if not self.increments:
            return np.arange(count + 1) * self.step.numerator / self.step.denominator
        known = self.increments[:count]
        steps = np.array([*known, *[float(self.step)] * (count - len(known))])
        return np.concatenate([[0.0], np.cumsum(steps)])


@dataclass(frozen=True, eq=False)
class DicomHeader:
    """Header of an object with pixel data.

    Attributes:
        medium: The file.
        dataset: Attributes of the pixels, a :class:`pydicom.Dataset`.
        syntax: Transfer syntax, a UID.
        num_frames: Number of frames that the header states, >= 1.
        timing: Times of the frames; None if the header states none.
        start: Position of the value of the pixel data.
        size: Its length in bytes; None if it is encapsulated, in fragments.
        notes: Problems of the header, sentences.
    """

    medium: MediaSource
    dataset: Any
    syntax: str
    num_frames: int
    timing: FrameTiming | None
    start: int
    size: int | None
    notes: tuple[str, ...]

    @property
    def name(self) -> str:
        """Name of the file, for messages."""
        return self.medium.name

    @property
    def is_video(self) -> bool:
        """True if one bitstream holds all frames; otherwise each frame is a picture."""
        return self.syntax.removesuffix(".1") in _VIDEO_SYNTAXES

    @property
    def syntax_name(self) -> str:
        """Name of the transfer syntax, for messages."""
        from pydicom.uid import UID

        return str(UID(self.syntax).name)


def opened(medium: MediaSource) -> BinaryIO:
    """Return the file, open, with a position of its own."""
    raw = medium.raw()
    if isinstance(raw, Path):
        return raw.open("rb")
    # pydicom takes a buffered reader for a file on disk, and asks for its path.
    return cast(BinaryIO, raw.detach()) if isinstance(raw, io.BufferedReader) else raw


def read_header(medium: MediaSource) -> DicomHeader:
    """Read the header of a DICOM file up to its pixel data, and of that only the attributes of pixels and times.

    Raises:
        VideoError: If the file is damaged or holds no pixel data, or pydicom is not installed.
    """
    name = medium.name
    try:
        pydicom = require_extra("pydicom", "dicom", f"{name}: this is a DICOM file; reading it")
    except ImportError as error:
        # One kind of error for whatever cannot be read, so that a folder of videos is worked through.
        raise VideoError(str(error)) from error
    try:
        # pydicom warns about every value that is not as the standard wants it.
        with opened(medium) as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = pydicom.dcmread(
                file, stop_before_pixels=True, force=True, specific_tags=[*_PIXEL_ATTRIBUTES, *_TIME_ATTRIBUTES]
            )
            syntax = str(dataset.file_meta.get("TransferSyntaxUID") or _DEFAULT_SYNTAX)
            if not re.fullmatch(r"[0-9.]{1,64}", syntax):
                raise ValueError("its transfer syntax is no identifier")
            where = _pixel_data(file, bool(dataset.is_implicit_VR), bool(dataset.is_little_endian))
            if where is None:
                raise VideoError(
                    f"{name}: this DICOM file holds no pictures; it is a report, an index or other data, or was cut off"
                )
            # Values are converted when they are first used, which fails for damaged ones.
            for keyword in _PIXEL_ATTRIBUTES:
                dataset.get(keyword)
            count = max(int(dataset.get("NumberOfFrames") or 1), 1)
            timing, notes = _timing(dataset)
    except VideoError:
        raise
    # Damaged files make pydicom raise anything, from EOFError to AttributeError.
    except Exception as error:
        raise VideoError(f"{name}: this DICOM file is damaged ({cause(error)}); export it again") from error
    return DicomHeader(medium, dataset, syntax, count, timing, *where, notes)


def _pixel_data(file: BinaryIO, implicit: bool, little: bool) -> tuple[int, int | None] | None:
    """Return position and length of the value of the pixel data, at whose element the file stands; None for none."""
    head = file.read(8 if implicit else 12)
    order = "<" if little else ">"
    if len(head) < (8 if implicit else 12):
        return None
    group, element = struct.unpack(f"{order}HH", head[:4])
    if (group << 16) + element != _PIXEL_DATA:
        return None
    (size,) = struct.unpack(f"{order}I", head[-4:])
    return file.tell(), None if size == _UNDEFINED_LENGTH else size


def _timing(dataset: Any) -> tuple[FrameTiming | None, tuple[str, ...]]:
    """Return the times that a header states, and problems.

    ``FrameIncrementPointer`` names the attribute that counts (PS3.3, C.7.6.6); where it is missing the more exact one
    does, and the rate for display is the last resort.
    """
    vector = [float(value) / 1000 for value in _values(dataset.get("FrameTimeVector"))]
    pointed = [int(tag) for tag in _values(dataset.get("FrameIncrementPointer"))]
    step, rate = _positive(dataset.get("FrameTime"), 1000), _positive(dataset.get("CineRate"), 1)
    display = _positive(dataset.get("RecommendedDisplayFrameRate"), 1)
    notes = []
    if len(vector) > 1 and (step is None or _FRAME_TIME_VECTOR in pointed):
        # The first value is the time before the first frame (PS3.3, C.7.6.5.1.2).
        increments = vector[1:]
        usual = Fraction(float(np.median(increments))).limit_denominator(1_000_000)
        if all(np.isfinite(increments)) and min(increments) > 0 and _SLOWEST <= 1 / usual <= _FASTEST:
            is_even = max(increments) - min(increments) < 1e-9
            return FrameTiming(usual, () if is_even else tuple(increments)), ()
        notes.append("the times of the frames in its header cannot be right and were ignored")
    if step is not None and rate is not None:
        away = abs(step * 1000 - 1000 / rate)
        if (step * 1000).denominator == 1 and away <= _ROUNDED_MS:
            step = 1 / rate
        elif abs(float(step * rate) - 1) > _SAME_RATE:
            notes.append(
                f"its header states {float(step) * 1000:g} ms from frame to frame and {float(rate):g} frames per "
                f"second, which contradict each other; the former was taken"
            )
    seconds = step or (1 / rate if rate else None) or (1 / display if display else None)
    if seconds is None or not _SLOWEST <= 1 / seconds <= _FASTEST:
        return None, (*notes, "its header states no frame rate that can be right")
    return FrameTiming(seconds), tuple(notes)


def _values(value: Any) -> Sequence[Any]:
    return () if value is None else value if isinstance(value, Sequence) and not isinstance(value, str) else [value]


def _positive(value: Any, unit: int) -> Fraction | None:
    """Return a decimal number exactly, divided by ``unit``; None if it is missing, malformed or not positive."""
    try:
        number = Fraction(str(value).strip()) / unit
    except (ValueError, ZeroDivisionError):
        return None
    return number if number > 0 else None


def fragments(header: DicomHeader) -> tuple[list[int], list[Piece], bool]:
    """Find the fragments of encapsulated pixel data (PS3.5, A.4), reading nothing but the heads of its items.

    Returns:
        The offset table, which may be empty: for each frame the distance in bytes of its first fragment's item from
        the first item. The fragments. And whether the file ends before they do.

    Raises:
        VideoError: If there is none.
    """
    position = header.start
    offsets: list[int] | None = None
    pieces: list[Piece] = []
    is_cut = True
    with header.medium.contents() as file:
        while position + 8 <= file.size:
            group, element, length = struct.unpack("<HHI", file.read(position, 8))
            if (group, element) != _ITEM or length == _UNDEFINED_LENGTH:
                is_cut = (group, element) != _SEQUENCE_END
                break
            position += 8
            there = min(length, file.size - position)
            if offsets is None:
                offsets = list(struct.unpack(f"<{there // 4}I", file.read(position, there // 4 * 4)))
            elif there:
                pieces.append(Piece(position, there))
            position += length
    if not pieces:
        raise VideoError(f"{header.name}: this DICOM file is damaged: its pixel data are empty; export it again")
    extended = header.dataset.get("ExtendedOffsetTable")
    if extended:
        offsets = list(struct.unpack(f"<{len(extended) // 8}Q", extended[: len(extended) // 8 * 8]))
    return offsets or [], pieces, is_cut


def frame_pieces(header: DicomHeader) -> tuple[list[list[Piece]], bool]:
    """Return the pieces of every frame of pixel data in separate pictures, and whether the file ends before it does.

    Raises:
        VideoError: If there are none, or it cannot be known which fragments belong to which frame.
    """
    count = header.num_frames
    if header.size is not None:
        dataset = header.dataset
        samples = 2 if dataset.get("PhotometricInterpretation") == "YBR_FULL_422" else dataset.get("SamplesPerPixel")
        sizes = [dataset.get("Rows"), dataset.get("Columns"), dataset.get("BitsAllocated"), samples]
        each = -(-math.prod(size if isinstance(size, int) else 0 for size in sizes) // 8)
        with header.medium.contents() as file:
            there = file.size - header.start
        whole = min(header.size, there) // each if each else 0
        if not whole:
            raise VideoError(f"{header.name}: this DICOM file was cut off before its first frame; export it again")
        return [[Piece(header.start + index * each, each)] for index in range(min(count, whole))], whole < count
    offsets, pieces, is_cut = fragments(header)
    if len(offsets) == count > 1:
        first = pieces[0].position
        frames: list[list[Piece]] = [[] for _ in range(count)]
        for piece in pieces:
            frames[bisect_right(offsets, piece.position - first) - 1].append(piece)
        return [frame for frame in frames if frame], is_cut
    if count == 1:
        return [pieces], is_cut
    if len(pieces) <= count:
        return [[piece] for piece in pieces], is_cut or len(pieces) < count
    raise VideoError(
        f"{header.name}: this DICOM file has {count} frames in {len(pieces)} pieces without a table of which belong "
        f"together; export the video as MP4"
    )


class JoinedPieces(io.RawIOBase):
    """Pieces of a file as one file, without a copy of them; closes the file with itself.

    Args:
        file: The file; not used by others.
        pieces: The pieces in order.
    """

    def __init__(self, file: BinaryIO, pieces: Sequence[Piece]) -> None:
        self._file, self._pieces = file, pieces
        self._ends = list(accumulate(piece.size for piece in pieces))
        self._position = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a position, as any file does."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._ends[-1]}[whence]
        self._position = max(start + offset, 0)
        return self._position

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer, up to the end of the current piece."""
        index = bisect_right(self._ends, self._position)
        if index == len(self._pieces):
            return 0
        piece, left = self._pieces[index], self._ends[index] - self._position
        self._file.seek(piece.position + piece.size - left)
        data = self._file.read(min(len(buffer), left))
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def close(self) -> None:
        """Close the file."""
        if not self.closed:
            self._file.close()
        super().close()
