"""Reading the packets of a video stream: past damage, on one continuous clock, with an index of all of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
import numpy.typing as npt
from av.container import InputContainer
from av.packet import Packet
from av.stream import Discard
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from endofm.video.container import Clock, MediaSource, Origin, video_stream
from endofm.video.damage import DamageLog
from endofm.video.frames import Float64Array
from endofm.video.h264_fields import FieldPairing

Int64Array = npt.NDArray[np.int64]

_MAX_ERRORS_IN_A_ROW = 100

# A jump of the clock by more than this is a cut between recordings, not a gap in one; FFmpeg's own default for
# formats whose clock may jump (option -dts_delta_threshold, ffmpeg manual, "Advanced options").
_JUMP_SECONDS = 10.0
_STEP_BACK_SECONDS = 0.5

# Program streams stamp a few frames a second; what libavformat guesses in between may be some frames off.
_GUESS_SECONDS = 0.25


def read_packets(
    container: InputContainer, stream: VideoStream, clock: Clock, damage: DamageLog
) -> Iterator[Packet[VideoStream]]:
    """Yield the packets of ``stream`` that hold data, in order of the file.

    Errors of the container are noted and passed over. Where the clock jumps between joined recordings, the stamps of
    the later part are moved to follow the earlier one.
    """
    for other in container.streams:
        if other.index != stream.index:
            other.discard = Discard.all
    joined = JoinedClock(clock, damage)
    errors = 0
    while errors < _MAX_ERRORS_IN_A_ROW:
        try:
            for packet in container.demux(stream):
                if packet.size:
                    errors = 0
                    joined.correct(packet)
                    yield packet
            return
        except IndexError:  # PyAV's way of reaching the end of a file in which new streams began on the way.
            return
        except (av.FFmpegError, OSError):
            errors += 1
            damage.note("container", "the file is damaged or cut off: parts of it could not be read")


class FrameFinder:
    """Tells which packets of a stream make a frame appear, looking at them in order of the file.

    Packets that edit lists drop do not, nor hidden reference frames of VP8 and VP9, nor second fields of H.264.

    Args:
        codec: Of the stream.
    """

    def __init__(self, codec: VideoCodecContext) -> None:
        self._codec = codec.codec.canonical_name
        # MP4 and Matroska (whose extradata begins with the version, 1) keep both fields of a frame in one packet.
        header = codec.extradata or b""
        has_start_codes = not header.startswith(b"\x01")
        self._fields = FieldPairing(header) if self._codec == "h264" and has_start_codes else None

    def shows_frame(self, packet: Packet[VideoStream]) -> bool:
        """Tell whether this packet, the next of the file, makes a frame appear."""
        if self._fields is not None and self._fields.is_second_field(bytes(packet)):
            return False
        if packet.is_discard:
            return False
        if self._codec == "vp8":  # RFC 6386, section 9.1: bit 4 of the frame tag is show_frame.
            return bool(memoryview(packet)[0] & 0x10)
        if self._codec == "vp9":
            return _vp9_shows_frame(memoryview(packet))
        return True


def _vp9_shows_frame(data: memoryview) -> bool:
    """Read the start of the uncompressed header (VP9 bitstream specification 0.6, section 6.2)."""
    if data[-1] & 0xE0 == 0xC0:  # A superframe (annex B) ends with the frame that is shown.
        return True
    bits = f"{data[0]:08b}"
    position = 5 if bits[2:4] == "11" else 4  # Profile 3 has one reserved bit more.
    if bits[position] == "1":  # show_existing_frame
        return True
    return bits[position + 2] == "1"


class JoinedClock:
    """Makes the stamps of joined recordings continuous, and those that libavformat guesses even."""

    def __init__(self, clock: Clock, damage: DamageLog) -> None:
        self._clock, self._damage = clock, damage
        self._offset = 0
        self._next: Fraction | None = None
        self._shown_until = 0

    def correct(self, packet: Packet[VideoStream]) -> None:
        """Put the stamps of the next packet of the file right, in place."""
        dts = packet.dts
        if not self._clock.may_jump or dts is None:
            return
        stamp = Fraction(dts + self._offset)
        if self._next is not None:
            away = float((stamp - self._next) * self._clock.tick)
            if away > _JUMP_SECONDS or away < -_STEP_BACK_SECONDS:
                if self._clock.source == "pts" and packet.pts is not None:
                    self._offset = self._shown_until - packet.pts
                else:
                    self._offset = round(self._next) - dts
                stamp = Fraction(dts + self._offset)
                self._damage.note(
                    "clock",
                    "the clock of the file jumps, as in recordings that were joined; the later parts were moved to "
                    "follow each other without a gap",
                )
            elif self._clock.source == "dts" and abs(away) < _GUESS_SECONDS:
                stamp = self._next
        # Whole and half frames: a picture may be shown for three fields.
        frames = Fraction(round(2 * (packet.duration or 0) / self._clock.frame_ticks), 2) or 1
        self._next = stamp + frames * self._clock.frame_ticks
        packet.dts = round(stamp)
        if packet.pts is not None:
            packet.pts += self._offset
            self._shown_until = max(self._shown_until, packet.pts + (packet.duration or self._clock.step))


@dataclass(frozen=True, eq=False)
class PacketIndex:
    """When frames appear and where decoding can start.

    Attributes:
        times: Seconds after the first frame at which frames appear, ascending, float64 ``(num_frames,)``.
        end: Time at which the last frame ends, in seconds.
        key_times: Seconds at which key frames appear, at the earliest; float64 ``(num_keys,)``, in order of the file.
        key_ordinals: Number of packets before each key frame, int64 ``(num_keys,)``.
    """

    times: Float64Array
    end: float
    key_times: Float64Array
    key_ordinals: Int64Array


def scan_packets(medium: MediaSource, clock: Clock, origin: Origin, damage: DamageLog) -> PacketIndex:
    """Read all packets of the video once.

    Args:
        medium: The file.
        clock: Of the video stream.
        origin: Where time begins; packets before it do not count.
        damage: Takes what could not be read.
    """
    stamps: list[int] = []
    durations: list[int] = []
    keys: list[tuple[int, int]] = []
    first_pts: int | None = None
    with medium.open() as container:
        stream = video_stream(container, medium.name)
        finder = FrameFinder(stream.codec_context)
        for ordinal, packet in enumerate(read_packets(container, stream, clock, damage)):
            if ordinal < origin.packet:
                continue
            if ordinal == origin.packet:
                first_pts = packet.pts
            stamp = clock.stamp(packet)
            shown = finder.shows_frame(packet)
            if stamp is None:
                stamp = stamps[-1] + clock.step if stamps else origin.tick
            if packet.is_keyframe and shown:
                keys.append((stamp, ordinal))
            # Leading frames of the first key frame lack what they were predicted from; they are never shown.
            leading = first_pts is not None and packet.pts is not None and packet.pts < first_pts
            early = clock.source == "pts" and stamp < origin.tick
            if shown and not leading and not early:
                stamps.append(stamp)
                durations.append(packet.duration or clock.step)
    if not stamps:  # The file changed since its first frame was decoded, or fails to be read now.
        stamps, durations = [origin.tick], [clock.step]
    ticks = np.array(stamps, np.int64)
    if clock.source == "dts":
        ticks, last_duration = _shown_in_turn(ticks, origin.tick, clock.step), clock.step
    else:
        order = np.argsort(ticks, kind="stable")
        ticks, last_duration = ticks[order], durations[order[-1]] if clock.source == "pts" else clock.step
    numerator, denominator = clock.tick.numerator, clock.tick.denominator
    return PacketIndex(
        times=(ticks - origin.tick) * numerator / denominator,
        end=clock.seconds(int(ticks[-1]) - origin.tick + last_duration),
        key_times=np.array([clock.seconds(stamp - origin.tick) for stamp, _ in keys], np.float64),
        key_ordinals=np.array([ordinal for _, ordinal in keys], np.int64),
    )


def _shown_in_turn(decoding_ticks: Int64Array, first: int, step: int) -> Int64Array:
    """Return when frames appear that take the decoding times in turn, as they leave the decoder.

    The first frame leaves the decoder some packets late, at ``first``; as many leave it after the last packet.
    """
    ticks = np.maximum.accumulate(decoding_ticks)
    late = int(np.searchsorted(ticks, first))
    return np.concatenate([ticks[late:], ticks[-1] + step * np.arange(1, late + 1)])


class LazyIndex:
    """The index of a file, made when it is first asked for; safe to ask from several threads."""

    def __init__(self, scan: Callable[[], PacketIndex]) -> None:
        self._scan, self._lock = scan, threading.Lock()
        self.known: PacketIndex | None = None

    def get(self) -> PacketIndex:
        """Return the index, reading the file for it the first time."""
        with self._lock:
            if self.known is None:
                self.known = self._scan()
        return self.known
