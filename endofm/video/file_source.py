"""A video file as a source of frames."""

from __future__ import annotations

import struct
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from types import TracebackType

import numpy as np

from endofm.errors import InputError, VideoError
from endofm.video.container import Damage, MediaSource, Origin, announced_seconds
from endofm.video.frame_reader import FrameReader, LazyIndex
from endofm.video.frames import Float64Array, Frame, VideoMetadata, ascending
from endofm.video.integrity import check_structure
from endofm.video.movie_index import check_movie
from endofm.video.packets import DamageLog, PacketIndex, scan_packets
from endofm.video.rgb_conversion import orientation


class FileSource:
    """A video file, in any container and codec that FFmpeg reads.

    Every iterator over it has an independent decoder and position, so several may be used in turn or, each by one
    thread, at once. An iterator holds two decoded pictures, however long the video is.

    Args:
        medium: The file.
        decoder_threads: Threads of each decoder, >= 1.
        times_itself: Its times are those of the file; False in a class that takes them from somewhere else.

    Raises:
        VideoError: If no frame of it can be decoded.
    """

    def __init__(self, medium: MediaSource, *, decoder_threads: int = 1, times_itself: bool = True) -> None:
        self._medium, self._threads = medium, decoder_threads
        self._damage = DamageLog()
        self._index = LazyIndex(self._scan)
        self._lock = threading.Lock()
        self._closed = False
        self._is_lenient = False
        reader = self._new_reader(None)
        if reader.current is None:
            # Some recorders mark no key frames; the decoder then has to find a starting point by itself. Some encoders
            # make what a strict decoder takes for errors.
            reader.close()
            self._damage, self._is_lenient = DamageLog(), True
            reader = self._new_reader(None)
        if reader.current is None or reader.origin is None:
            reader.close()
            medium.require_read()
            raise VideoError(
                f"{medium.name}: no frame of this video can be decoded; the file is damaged, cut off or protected. "
                f"Copy it again from where it was recorded"
            )
        self._origin: Origin = reader.origin
        self._clock = reader.clock
        self._start = _start_seconds(reader)
        self._announced = announced_seconds(reader.decoder.container, reader.decoder.stream, self._start)
        self._metadata = _describe(reader, medium.name, self._announced)
        self._is_structure_checked = False
        if self._clock.is_rate_assumed and times_itself:
            self._damage.note(
                "rate",
                f"the file states no frame rate that can be right; {self._metadata.average_fps:g} frames per second "
                f"were assumed, and all times depend on it",
            )
        self._idle: FrameReader | None = reader

    def _new_reader(self, origin: Origin | None) -> FrameReader:
        return FrameReader(
            self._medium,
            threads=self._threads,
            damage=self._damage,
            lenient=self._is_lenient,
            origin=origin,
            index=self._index,
        )

    @contextmanager
    def _borrow_reader(self) -> Iterator[FrameReader]:
        """Lend a reader; the one returned last is kept, so that the next sampling resumes where this one ended."""
        with self._lock:
            if self._closed:
                raise VideoError(f"{self._medium.name}: this video was closed; open it again")
            reader, self._idle = self._idle, None
        reader = reader or self._new_reader(self._origin)
        # After an error of the decoder its position is unknown, and the reader is not reused.
        intact = False
        try:
            yield reader
            intact = True
        except (GeneratorExit, InputError):
            intact = True
            raise
        finally:
            with self._lock:
                keep = intact and self._idle is None and not self._closed
                if keep:
                    self._idle = reader
            if not keep:
                reader.close()

    def _scan(self) -> PacketIndex:
        index = scan_packets(self._medium, self._clock, self._origin, self._damage)
        self._medium.require_read()
        self._check_length(index.end)
        # MXF knows frames of one length only; its times come from an index that has no checksum.
        if self._metadata.container == "mxf" and np.ptp(np.diff(index.times, append=index.end)) > 1e-4:
            self._damage.note("structure", "the index of the file is damaged; times may be wrong")
        self._check_structure()
        return index

    def _check_length(self, end: float) -> None:
        """Record a problem if the file clearly holds less than its header states."""
        announced = self._announced
        # A file whose clock may jump states no length; FFmpeg derives one from its time stamps. AVI counts frames.
        if announced is None or self._clock.may_jump or self._clock.may_pause:
            return
        if end < announced - max(0.5, self._clock.seconds(5 * self._clock.step)):
            self._damage.note(
                "length",
                f"the video ends after {end:.3f} s, but its header announces {announced:.3f} s; it was cut off",
            )

    def _check_structure(self) -> None:
        """Record the first contradiction in the container, once."""
        if self._is_structure_checked:
            return
        self._is_structure_checked = True
        try:
            with self._medium.contents() as file:
                if self._metadata.container.startswith("mov,"):
                    check_movie(file)
                else:
                    check_structure(file, self._metadata.container)
        except Damage as damage:
            self._damage.note("structure", str(damage))
        except (OSError, EOFError, LookupError, ValueError, struct.error):
            # A table that ends early or points outside itself.
            self._damage.note("structure", "the structure of the file is damaged; frames may be missing or wrong")

    @property
    def medium(self) -> MediaSource:
        """The file, which can be opened again, for its sound for example."""
        return self._medium

    @property
    def tick(self) -> Fraction:
        """Seconds per tick of the video's clock; the time of every frame is an integer multiple of it."""
        return self._clock.tick

    @property
    def start_seconds(self) -> float:
        """Time zero on the clock of the file, in seconds; subtract it from the times of other streams."""
        return self._start

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._metadata.short()})"

    @property
    def metadata(self) -> VideoMetadata:
        """Metadata from the header and the first frame."""
        return self._metadata

    @property
    def problems(self) -> tuple[str, ...]:
        """Problems of reading and decoding so far, one sentence each."""
        return self._damage.sentences(lambda tick: self._clock.seconds(tick - self._origin.tick))

    def frame_times(self) -> Float64Array:
        """Return the times of all frames from the packets, ascending, float64 ``(num_frames,)``, seconds.

        For an intact file these are exactly the times of the decoded frames. The whole file is read once.
        """
        return self._index.get().times

    def end_seconds(self) -> float:
        """Return the time at which the last frame ends, in seconds; reads the file as :meth:`frame_times` does."""
        return self._index.get().end

    def sample(self, seconds: Iterable[float]) -> Iterator[Frame]:
        """Yield for each requested time the frame on screen then; see :class:`~endofm.video.frames.VideoSource`.

        Decodes forward, and jumps to a key frame where that is less work. Equal times yield the same object.
        """
        with self._borrow_reader() as reader:
            for time in ascending(seconds):
                frame = reader.show(time)
                self._medium.require_read()
                if frame is None:
                    return
                yield frame

    def __iter__(self) -> Iterator[Frame]:
        """Yield every frame in order of presentation."""
        with self._borrow_reader() as reader:
            reader.rewind()
            end = 0.0
            while (frame := reader.frame()) is not None:
                self._medium.require_read()
                end = frame.pts_seconds + frame.duration_seconds
                yield frame
                reader.advance()
            self._medium.require_read()
            if not self._damage.has_lost_frames:
                self._check_length(end)
            self._check_structure()

    def close(self) -> None:
        """Release the file; iterators in use may be exhausted."""
        with self._lock:
            self._closed = True
            reader, self._idle = self._idle, None
        if reader is not None:
            reader.close()

    def __enter__(self) -> FileSource:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _start_seconds(reader: FrameReader) -> float:
    """Return time zero on the clock of the file, in seconds."""
    assert reader.origin is not None
    clock, decoder = reader.clock, reader.decoder
    if clock.source == "pts":
        return clock.seconds(reader.origin.tick)
    # A decoding clock counts packets; the first of them, not the first picture out of the decoder, is at time zero.
    if decoder.container.format.name == "avi":
        return clock.seconds(decoder.first_dts or 0)
    return float((decoder.stream.start_time or 0) * (decoder.stream.time_base or 0))


def _describe(reader: FrameReader, name: str, announced: float | None) -> VideoMetadata:
    assert reader.current is not None
    stream, frame = reader.decoder.stream, reader.current.picture.frame
    turned = orientation(frame)
    width, height = (frame.height, frame.width) if turned.transpose else (frame.width, frame.height)
    rate = reader.clock.rate
    if reader.clock.is_rate_assumed:
        rate = 1 / (reader.clock.frame_ticks * reader.clock.tick)
    return VideoMetadata(
        name=name,
        width=width,
        height=height,
        average_fps=float(rate) if rate else None,
        num_frames=stream.frames or None,
        duration_seconds=announced,
        codec=stream.codec_context.codec.canonical_name,
        container=reader.decoder.container.format.name,
        pixel_format=frame.format.name,
        rotation=turned.clockwise,
        decoder="pyav",
    )
