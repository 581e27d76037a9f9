"""Decoding: from packets to pictures with time stamps, past damage."""

from __future__ import annotations

import heapq
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass

import av
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from endofm.video.container import Clock, MediaSource, video_stream
from endofm.video.packets import DamageLog, FrameFinder, read_packets

# Smaller steps back are rounding and reordering, not wrong time stamps.
_BACK_SECONDS = 0.5

# What the decoders of libavcodec take for an error (option err_detect), where that finds damage which they otherwise
# decode to wrong pixels without a word. What the others notice by themselves is measured in docs/video.md.
_STRICTNESS = {
    **dict.fromkeys(("mjpeg", "hevc"), "explode"),
    **dict.fromkeys(("wmv1", "wmv2", "msmpeg4v1", "msmpeg4v2", "msmpeg4v3"), "bitstream+buffer+explode"),
}

# Decoders that are not started over after an error: key frames of these codecs are seconds apart.
_UNSTOPPABLE = {"wmv1", "wmv2", "msmpeg4v1", "msmpeg4v2", "msmpeg4v3"}

# Packets of MPEG-4 that repeat the last picture are smaller and give no frame.
_EMPTY_BYTES = 16


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
        lenient: Start at any packet, and pass over errors. Otherwise decoding starts at packets that the container
            marks as key frames, resumes at the next one after an error, and errors are those of a strict decoder. Rare
            files mark no key frames, or have an encoder that makes what a strict decoder takes for errors.

    Raises:
        VideoError: If the file cannot be opened or holds no video.
    """

    def __init__(self, medium: MediaSource, *, threads: int, damage: DamageLog, lenient: bool) -> None:
        self._damage, self._needs_key = damage, not lenient
        self.container = medium.open()
        try:
            self.stream = video_stream(self.container, medium.name)
        except BaseException:
            self.container.close()
            raise
        self.stream.thread_count = threads
        if threads > 1:
            self.stream.thread_type = "AUTO"
        name = self.stream.codec_context.codec.canonical_name
        if not lenient and name in _STRICTNESS:
            self.stream.codec_context.options = {"err_detect": _STRICTNESS[name]}
        self._goes_on = name in _UNSTOPPABLE
        self.clock = Clock.of(self.container, self.stream)
        self.packets_read = 0
        self.start_packet = 0
        """Number of packets before the one that the latest pass of :meth:`pictures` started with."""
        self.start_tick: int | None = None
        """Time stamp of the frame of that packet; None if unknown."""
        self.first_dts: int | None = None
        """Decoding time of that packet in ticks."""
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
                    self.start_packet, self.first_dts = self.packets_read - 1, packet.dts
                    dated = self.clock.source == "pts" and not packet.is_discard
                    self.start_tick = self.clock.stamp(packet) if dated else None
            queue.expect(packet)
            try:
                yield from queue.show(self.stream.decode(packet))
            except av.FFmpegError:
                # The decoder still holds pictures from before the error; they are sound and come out first.
                queue.lose(packet)
                if self._goes_on:
                    queue.spoil()
                    continue
                yield from queue.show(self._drain())
                codec.flush_buffers()
                waiting = self._needs_key
        yield from queue.show(self._drain())
        queue.finish()
        queue.compare()

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
        self._passed = self._shown = self._failed = 0

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
        leading = self._clock.leads(packet.pts, self._first_shown)
        if not shown or (stamp is None and self._clock.source != "count"):
            return
        if leading:
            self.lose(packet)
            return
        self._passed += packet.size > _EMPTY_BYTES
        if stamp is not None and self._clock.source == "pts":
            heapq.heappush(self._expected, stamp)

    def lose(self, packet: Packet[VideoStream]) -> None:
        """Record a packet that yields no picture."""
        stamp = self._clock.stamp(packet)
        leading = self._clock.leads(packet.pts, self._missed_from)
        if self._silent or leading:
            return
        self._failed += 1
        if stamp is None:
            self._damage.note("count", "frames without time stamps could not be decoded; later times may be early")
        else:
            self._damage.lost(stamp)

    def spoil(self) -> None:
        """Record that the frames up to the next key frame are predicted from one that could not be decoded."""
        self._spoiled = True

    def show(self, frames: Iterable[VideoFrame]) -> Iterator[Picture]:
        """Yield the frames that left the decoder, with their time stamps."""
        for frame in frames:
            if self._clock.leads(frame.pts, self._first_shown):
                continue
            tick = self._clock.stamp(frame)
            self._shown += 1
            if tick is None:
                self._damage.ignore_stamp(self._clock.stored_stamp(frame))
                tick = 0 if self._last is None else self._last + self._clock.step
            # After a seek, a decoder may need some frames until the picture is complete (gradual refresh).
            fresh = self.is_fresh
            if self._last is not None:
                if self._clock.seconds(self._last - tick) > _BACK_SECONDS:
                    self._damage.note("order", "time stamps in the file go back, so some frames may have wrong times")
                tick = max(tick, self._last)
                if not self._clock.may_pause:
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

    def compare(self) -> None:
        """Record that a stream whose frames are not known by their time stamps gave fewer of them than it holds."""
        missing = self._passed - self._shown
        if self._clock.source != "pts" and missing > self._failed:
            self._damage.note(
                "count",
                f"{missing} of {self._passed} frames could not be decoded; the file has no time stamps of its own for "
                f"every frame, so times after them may be early",
            )
