"""A video file as a source of frames."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from types import TracebackType

from endofm.errors import InputError, VideoError
from endofm.video.container import MediaSource, Origin, announced_seconds
from endofm.video.frame_reader import FrameReader
from endofm.video.frames import Float64Array, Frame, VideoMetadata, ascending
from endofm.video.packets import DamageLog, LazyIndex, PacketIndex, scan_packets
from endofm.video.rgb_conversion import orientation


class FileSource:
    """A video file, in any container and codec that FFmpeg reads.

    Every iterator over it has an independent decoder and position, so several may be used in turn or, each by one
    thread, at once. An iterator holds two decoded pictures, however long the video is.

    Args:
        medium: The file.
        decoder_threads: Threads of each decoder, >= 1.

    Raises:
        VideoError: If no frame of it can be decoded.
    """

    def __init__(self, medium: MediaSource, *, decoder_threads: int = 1) -> None:
        self._medium, self._threads = medium, decoder_threads
        self._damage = DamageLog()
        self._index = LazyIndex(self._scan)
        self._lock = threading.Lock()
        self._closed = False
        self._needs_key = True
        reader = self._new_reader(None)
        if reader.current is None:
            # Some recorders mark no key frames; the decoder then has to find a starting point by itself.
            reader.close()
            self._damage, self._needs_key = DamageLog(), False
            reader = self._new_reader(None)
        if reader.current is None or reader.origin is None:
            reader.close()
            raise VideoError(
                f"{medium.name}: no frame of this video can be decoded; the file is damaged, cut off or protected. "
                f"Copy it again from where it was recorded"
            )
        self._origin: Origin = reader.origin
        self._clock = reader.clock
        self._announced = announced_seconds(reader.decoder.container, reader.decoder.stream)
        self._metadata = _describe(reader, medium.name, self._announced)
        self._idle: FrameReader | None = reader

    def _new_reader(self, origin: Origin | None) -> FrameReader:
        return FrameReader(
            self._medium,
            threads=self._threads,
            damage=self._damage,
            needs_key=self._needs_key,
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
        self._check_length(index.end, len(index.times))
        return index

    def _check_length(self, end: float, count: int) -> None:
        """Record a problem if the file clearly holds less than its header states."""
        announced, frames = self._announced, self._metadata.num_frames
        if self._clock.may_jump:
            # Such a file states no length; FFmpeg derives one from its time stamps.
            return
        if announced is not None and end < announced - max(0.5, self._clock.seconds(5 * self._clock.step)):
            self._damage.note(
                "length",
                f"the video ends after {end:.3f} s, but its header announces {announced:.3f} s; it was cut off",
            )
        elif self._clock.source != "pts" and frames is not None and count < frames - max(2.0, 0.01 * frames):
            self._damage.note(
                "length",
                f"only {count} of {frames} frames that the header announces were found; the file has no time stamps, "
                f"so times after a gap are early",
            )

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
        if self._clock.source == "pts":
            return self._clock.seconds(self._origin.tick)
        # A decoding clock counts packets; the first of them, not the first picture out of the decoder, is at time zero.
        with self._borrow_reader() as reader:
            stream = reader.decoder.stream
            return float((stream.start_time or 0) * (stream.time_base or 0))

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
                if frame is None:
                    return
                yield frame

    def __iter__(self) -> Iterator[Frame]:
        """Yield every frame in order of presentation."""
        with self._borrow_reader() as reader:
            reader.rewind()
            end, count = 0.0, 0
            while (frame := reader.frame()) is not None:
                end, count = frame.pts_seconds + frame.duration_seconds, count + 1
                yield frame
                reader.advance()
            if not self._damage.has_lost_frames:
                self._check_length(end, count)

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


def _describe(reader: FrameReader, name: str, announced: float | None) -> VideoMetadata:
    assert reader.current is not None
    stream, frame = reader.decoder.stream, reader.current.picture.frame
    turned = orientation(frame)
    width, height = (frame.height, frame.width) if turned.transpose else (frame.width, frame.height)
    rate = stream.average_rate or stream.guessed_rate
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
