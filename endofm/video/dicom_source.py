"""DICOM objects as sources of frames, timed by their header."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any, BinaryIO, cast

import numpy as np

from endofm.errors import InputError, VideoError, cause
from endofm.video.container import MediaSource
from endofm.video.dicom_file import (
    DicomHeader,
    FrameTiming,
    JoinedPieces,
    Piece,
    fragments,
    frame_pieces,
    opened,
    read_header,
)
from endofm.video.file_source import FileSource
from endofm.video.frames import TIME_TOLERANCE, Float64Array, Frame, UInt8Array, VideoMetadata, VideoSource, ascending
from endofm.video.sequence_source import SequenceSource

_CUT = "the file ends before its pixel data does; it was cut off"

# Frames per second that the bitstream and the header state; nearer ones are the same rate, rounded.
_SAME_RATE = 0.01


def open_dicom(medium: MediaSource, *, fps: float | None, decoder_threads: int) -> VideoSource:
    """Open a DICOM object with moving pictures, or one picture.

    Args:
        medium: The file.
        fps: Nominal rate in frames per second, for separate pictures without any in their header.
        decoder_threads: Threads of the decoder of a bitstream.

    Raises:
        VideoError: If it cannot be read.
        InputError: If ``fps`` is given although the header states times.
    """
    header = read_header(medium)
    if fps is not None and (header.timing is not None or header.is_video):
        raise InputError(f"{header.name}: a DICOM video has times of its own; fps is for images and arrays")
    if not header.is_video:
        return _open_pictures(header, fps)
    _, pieces, is_cut = fragments(header)
    stream = MediaSource(cast(BinaryIO, JoinedPieces(opened(medium), pieces)), header.name)
    return DicomVideo(stream, header, is_cut=is_cut, decoder_threads=decoder_threads)


def why_no_recording(medium: MediaSource) -> str:
    """Return why a DICOM file in a folder is no recording; empty if it is one.

    Raises:
        VideoError: If it cannot be read.
    """
    header = read_header(medium)
    return "" if header.is_video or header.num_frames > 1 else "this is a single image (DICOM)"


class DicomVideo(FileSource):
    """A bitstream in a DICOM object, whose frames have the times of the header.

    The bitstream may have a clock as well (MP4, MPEG-TS), or state a rate; the header wins, and ``problems`` says if
    they disagree. Decoding and seeking are those of :class:`~endofm.video.file_source.FileSource`.

    Args:
        medium: The bitstream.
        header: Header of the object.
        is_cut: The file ends before the bitstream does.
        decoder_threads: Threads of each decoder, >= 1.
    """

    def __init__(self, medium: MediaSource, header: DicomHeader, *, is_cut: bool, decoder_threads: int = 1) -> None:
        super().__init__(medium, decoder_threads=decoder_threads, times_itself=header.timing is None)
        self._header = header
        self._own_notes = [*header.notes, *([_CUT] if is_cut else [])]
        self._header_times: Float64Array | None = None

    @property
    def _timing(self) -> FrameTiming | None:
        return self._header.timing

    @property
    def tick(self) -> Fraction:
        """Seconds per tick; times of the header are multiples of it, or nearly so if they are uneven."""
        if self._timing is None:
            return super().tick
        return Fraction(1, 90_000) if self._timing.increments else self._timing.step

    @property
    def metadata(self) -> VideoMetadata:
        """Metadata from the header and the first frame."""
        inner = super().metadata
        count, timing = self._header.num_frames, self._timing
        if timing is None:
            return replace(inner, container=f"dicom,{inner.container}")
        end = timing.end(count)
        rate = float(1 / timing.step) if not timing.increments else count / end
        return replace(
            inner, container=f"dicom,{inner.container}", average_fps=rate, num_frames=count, duration_seconds=end
        )

    @property
    def problems(self) -> tuple[str, ...]:
        """Problems of the header, and of reading and decoding so far, one sentence each."""
        notes = list(self._own_notes)
        if self._timing is None:
            return (*notes, *super().problems)
        found = self._damage.sentences(lambda tick: self._retimed(self._clock.seconds(tick - self._origin.tick)))
        return (*notes, *found)

    def frame_times(self) -> Float64Array:
        """Return the times of all frames, ascending, float64 ``(num_frames,)``, seconds."""
        return super().frame_times() if self._timing is None else self._times()[:-1]

    def end_seconds(self) -> float:
        """Return the time at which the last frame ends, in seconds."""
        return super().end_seconds() if self._timing is None else float(self._times()[-1])

    def sample(self, seconds: Iterable[float]) -> Iterator[Frame]:
        """Yield for each requested time the frame on screen then; see :class:`~endofm.video.frames.VideoSource`.

        Equal times yield the same object.
        """
        if self._timing is None:
            yield from super().sample(seconds)
            return
        times, inner_times = self._times(), super().frame_times()
        number = 0

        def on_the_clock_of_the_stream() -> Iterator[float]:
            nonlocal number
            for time in ascending(seconds):
                if time + TIME_TOLERANCE >= times[-1]:
                    return
                number = int(np.searchsorted(times, time + TIME_TOLERANCE, side="right")) - 1
                yield float(inner_times[number])

        last: tuple[Frame, Frame] | None = None
        # The stream asks for one time, and gives its frame before it asks for the next.
        for inner in super().sample(on_the_clock_of_the_stream()):
            if last is None or last[0] is not inner:
                last = inner, self._timed(inner, number)
            yield last[1]

    def __iter__(self) -> Iterator[Frame]:
        """Yield every frame in order of presentation."""
        if self._timing is None:
            yield from super().__iter__()
            return
        inner_times = super().frame_times()
        for inner in super().__iter__():
            yield self._timed(inner, int(np.searchsorted(inner_times, inner.pts_seconds + TIME_TOLERANCE, "right")) - 1)

    def _timed(self, inner: Frame, number: int) -> Frame:
        times = self._times()
        return Frame(inner.data, float(times[number]), float(times[number + 1] - times[number]))

    def _times(self) -> Float64Array:
        """Return the header's times of the frames that the stream has, and the end."""
        assert self._timing is not None
        if self._header_times is None:
            inner, end = super().frame_times(), super().end_seconds()
            self._header_times = self._timing.times(len(inner))
            if self._header.num_frames > 1 and len(inner) != self._header.num_frames:
                self._own_notes.append(
                    f"the header of the file states {self._header.num_frames} frames, and there are {len(inner)}"
                )
            if not self._clock.is_rate_assumed and abs(end / self._header_times[-1] - 1) > _SAME_RATE:
                self._own_notes.append(
                    f"the video inside ends after {end:.3f} s by its own clock, and after "
                    f"{self._header_times[-1]:.3f} s by the header of the file, which was taken"
                )
        return self._header_times

    def _retimed(self, seconds: float) -> float:
        if seconds < 0:
            return seconds
        number = int(np.searchsorted(super().frame_times(), seconds + TIME_TOLERANCE, side="right")) - 1
        return float(self._times()[max(number, 0)])


def _open_pictures(header: DicomHeader, fps: float | None) -> SequenceSource:
    frames, is_cut = frame_pieces(header)
    load = _Pictures(header, frames)
    height, width = load(0).shape[:2]
    notes = (*(header.notes if header.num_frames > 1 and fps is None else ()), *([_CUT] if is_cut else []))
    times = header.timing.times(len(frames)) if header.timing is not None else None
    return SequenceSource(
        load, len(frames), name=header.name, size=(height, width), fps=fps, codec="dicom", times=times, notes=notes
    )


class _Pictures:
    """Decoder of the frames of an object in separate pictures."""

    def __init__(self, header: DicomHeader, frames: list[list[Piece]]) -> None:
        from pydicom.pixels.decoders.base import get_decoder

        self._header, self._frames = header, frames
        try:
            self._decoder: Any = get_decoder(header.syntax)
        except NotImplementedError as error:
            raise self._unreadable(error) from error

    def __call__(self, index: int) -> UInt8Array:
        """Return frame ``index`` as uint8 ``(height, width, 3)`` RGB.

        Raises:
            VideoError: If it cannot be decoded.
        """
        from pydicom.encaps import encapsulate
        from pydicom.pixels.utils import as_pixel_options

        try:
            with self._header.medium.contents() as file:
                data = b"".join(file.read(piece.position, piece.size) for piece in self._frames[index])
            options = as_pixel_options(self._header.dataset, number_of_frames=1, pixel_keyword="PixelData")
            coded = data if self._header.size is not None else encapsulate([data], has_bot=False)
            array, properties = self._decoder.as_array(coded, index=0, **options)
            return _rgb(array, properties)
        except VideoError:
            raise
        # A damaged picture makes a decoder raise anything; that of a missing plugin is a RuntimeError.
        except Exception as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: Exception) -> VideoError:
        return VideoError(
            f"{self._header.name}: the pictures of this DICOM file ({self._header.syntax_name}) cannot be decoded "
            f"({cause(error)}); export it as MP4, or as JPEG images"
        )


def _rgb(array: Any, properties: dict[str, Any]) -> UInt8Array:
    colours = str(properties["photometric_interpretation"])
    if colours == "PALETTE COLOR" or array.dtype.kind not in "ui" or array.ndim not in (2, 3):
        raise VideoError(f"pictures of the kind {colours!r} are not read")
    excess = int(properties["bits_stored"]) - 8
    values = np.right_shift(array, excess) if excess > 0 else array
    picture = np.clip(values, 0, 255).astype(np.uint8)
    if colours == "MONOCHROME1":
        picture = 255 - picture
    return np.ascontiguousarray(picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2))
