"""Decoding: from packets to pictures with time stamps, past damage, and from pictures to upright RGB."""

from __future__ import annotations

import heapq
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import cast

import av
import numpy as np
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Interpolation, VideoReformatter
from av.video.stream import VideoStream

from endofm.video.container import Clock, MediaSource, video_stream
from endofm.video.frames import UInt8Array
from endofm.video.packets import DamageLog, FrameFinder, read_packets

# Smaller steps back are rounding and reordering, not wrong time stamps.
_BACK_SECONDS = 0.5

_BT709, _FCC, _BT601, _SMPTE240M, _BT2020 = 1, 4, 5, 7, 9
"""Luma-chroma matrices in swscale's numbering (SWS_CS_*)."""

# By the matrix coefficients that streams carry (ITU-T H.273, table 4).
_MATRICES = {1: _BT709, 4: _FCC, 5: _BT601, 6: _BT601, 7: _SMPTE240M, 9: _BT2020, 10: _BT2020}


@dataclass(frozen=True, eq=False)
class Picture:
    """A decoded frame before its conversion to RGB.

    Attributes:
        frame: Frame in the pixel format of the codec.
        tick: Time stamp in ticks of the stream's clock.
    """

    frame: VideoFrame
    tick: int


class FrameDecoder:
    """An open file and its decoder.

    Args:
        medium: The file.
        threads: Threads of the decoder.
        damage: Records what cannot be decoded.
        needs_key: Start at packets that the container marks as key frames, and resume at the next one after an error.
            False for the rare file that marks none.

    Raises:
        VideoError: If the file cannot be opened or holds no video.
    """

    def __init__(self, medium: MediaSource, *, threads: int, damage: DamageLog, needs_key: bool) -> None:
        self._damage, self._needs_key = damage, needs_key
        self.container = medium.open()
        try:
            self.stream = video_stream(self.container, medium.name)
        except BaseException:
            self.container.close()
            raise
        self.stream.thread_count = threads
        if threads > 1:
            self.stream.thread_type = "AUTO"
        self.clock = Clock.of(self.container, self.stream)
        self.packets_read = 0
        self.start_packet = 0
        """Number of packets before the one that the latest pass of :meth:`pictures` started with."""
        self.start_tick: int | None = None
        """Time stamp of the frame of that packet; None if unknown."""
        self._packets = self._read()

    def close(self) -> None:
        """Close the file."""
        self._packets.close()
        self.container.close()

    def _read(self) -> Generator[Packet[VideoStream], None, None]:
        for packet in read_packets(self.container, self.stream, self.clock, self._damage):
            self.packets_read += 1
            yield packet

    def seek(self, tick: int) -> bool:
        """Seek to a key frame before ``tick``, as closely as the container allows; return False if it cannot."""
        self._packets.close()
        self._packets = self._read()
        try:
            self.container.seek(tick, stream=self.stream)
        except (av.FFmpegError, OSError):
            return False
        return True

    def pictures(self, *, skip_to: int = 0, after_seek: bool = False) -> Iterator[Picture]:
        """Yield the pictures from the current position to the end, in order of presentation.

        Args:
            skip_to: Skip packets, undecoded, until this many have been read since the file was opened.
            after_seek: Packets before the first key frame are not reported as lost: a seek landed between key frames.
        """
        codec = self.stream.codec_context
        codec.flush_buffers()
        queue = _ShowOrder(self.clock, self._damage, codec, silent=after_seek or skip_to > 0)
        waiting = self._needs_key
        for packet in self._packets:
            if self.packets_read <= skip_to:
                continue
            if waiting:
                if not packet.is_keyframe:
                    queue.lose(packet)
                    continue
                waiting = False
                queue.restart(packet)
                if queue.is_fresh:
                    self.start_packet = self.packets_read - 1
                    dated = self.clock.source == "pts" and not packet.is_discard
                    self.start_tick = self.clock.stamp(packet) if dated else None
            queue.expect(packet)
            try:
                yield from queue.show(self.stream.decode(packet))
            except av.FFmpegError:
                # The decoder still holds pictures from before the error; they are sound and come out first.
                queue.lose(packet)
                yield from queue.show(self._drain())
                codec.flush_buffers()
                waiting = self._needs_key
        yield from queue.show(self._drain())
        queue.finish()

    def _drain(self) -> list[VideoFrame]:
        try:
            return self.stream.decode(None)
        except (av.FFmpegError, EOFError):
            return []


class _ShowOrder:
    """Assigns time stamps to frames as they leave the decoder, and detects frames that never do."""

    def __init__(self, clock: Clock, damage: DamageLog, codec: VideoCodecContext, *, silent: bool) -> None:
        self._clock, self._damage, self._finder = clock, damage, FrameFinder(codec)
        # Packets before the first key frame are then not reported as lost.
        self._silent = silent
        self._missed_from: int | None = None
        self._last: int | None = None
        self._first_shown: int | None = None
        self._expected: list[int] = []
        self._spoiled = False

    @property
    def is_fresh(self) -> bool:
        """True until the first frame is shown."""
        return self._last is None

    def restart(self, key: Packet[VideoStream]) -> None:
        """Start, or start over, at a key frame: frames that are shown before it cannot be complete."""
        self.finish()
        self._first_shown = key.pts
        if self._silent:
            self._silent, self._missed_from = False, key.pts

    def expect(self, packet: Packet[VideoStream]) -> None:
        """Record a packet that is passed to the decoder."""
        stamp = self._clock.stamp(packet)
        shown = self._finder.shows_frame(packet)
        if stamp is None or self._clock.source != "pts" or not shown:
            return
        if self._first_shown is not None and stamp < self._first_shown:
            self.lose(packet)
        else:
            heapq.heappush(self._expected, stamp)

    def lose(self, packet: Packet[VideoStream]) -> None:
        """Record a packet that yields no picture."""
        stamp = self._clock.stamp(packet)
        leading = self._missed_from is not None and packet.pts is not None and packet.pts < self._missed_from
        if self._silent or leading:
            return
        if stamp is None:
            self._damage.note("count", "frames without time stamps could not be decoded; later times may be early")
        else:
            self._damage.lost(stamp)

    def show(self, frames: Iterable[VideoFrame]) -> Iterator[Picture]:
        """Yield the frames that left the decoder, with their time stamps."""
        for frame in frames:
            if self._first_shown is not None and frame.pts is not None and frame.pts < self._first_shown:
                continue
            tick = self._clock.stamp(frame)
            if tick is None:
                tick = 0 if self._last is None else self._last + self._clock.step
            # After a seek, a decoder may need some frames until the picture is complete (gradual refresh).
            fresh = self.is_fresh
            if self._last is not None:
                if self._clock.seconds(self._last - tick) > _BACK_SECONDS:
                    self._damage.note("order", "time stamps in the file go back, so some frames may have wrong times")
                tick = max(tick, self._last)
                self._damage.step(self._last, tick, self._clock.step)
            self._last = tick
            while self._expected and self._expected[0] <= tick:
                missed = heapq.heappop(self._expected)
                if missed < tick and not (fresh and self._missed_from is not None):
                    self._damage.lost(missed)
                    # Later frames may have been predicted from it.
                    self._spoiled = True
            self._spoiled = frame.is_corrupt or (self._spoiled and not frame.key_frame)
            if self._spoiled:
                self._damage.spoiled(tick)
            yield Picture(frame, tick)

    def finish(self) -> None:
        """Record the frames that were expected and did not come as lost."""
        for stamp in self._expected:
            self._damage.lost(stamp)
        self._expected.clear()


def matrix_of(frame: VideoFrame) -> int:
    """Return the luma-chroma matrix of a frame; unless it states one, BT.709 for HD sizes and BT.601 below.

    Players make the same guess; swscale itself would take BT.601 for every size.
    """
    known = _MATRICES.get(int(frame.colorspace))
    if known is not None:
        return known
    return _BT709 if frame.width >= 1280 or frame.height > 576 else _BT601


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
        self._reformatter = VideoReformatter()
        self._turned: tuple[int, Orientation] | None = None

    def __call__(self, frame: VideoFrame) -> UInt8Array:
        """Return uint8 ``(height, width, 3)``, RGB, full range, contiguous."""
        full = frame.format.name.startswith("yuvj") or frame.color_range == ColorRange.JPEG
        converted = self._reformatter.reformat(
            frame,
            width=self.width,
            height=self.height,
            format="rgb24",
            src_colorspace=matrix_of(frame),
            src_color_range=ColorRange.JPEG if full else frame.color_range,
            dst_color_range=ColorRange.JPEG,
            interpolation=Interpolation.BILINEAR,
            threads=1,
        )
        pixels = cast(UInt8Array, converted.to_ndarray())
        return np.ascontiguousarray(self._orientation(frame).apply(pixels))

    def _orientation(self, frame: VideoFrame) -> Orientation:
        """Return the frame's orientation; its matrix is read only when the angle differs from the last frame's.

        PyAV ties a frame and its side data in a reference cycle, so that every frame whose matrix was read stays in
        memory until Python's garbage collector runs; so few objects are created per frame that this takes hundreds of
        frames.
        """
        if self._turned is None or self._turned[0] != frame.rotation:
            self._turned = frame.rotation, orientation(frame)
        return self._turned[1]
