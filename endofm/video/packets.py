"""Reading the packets of a video stream past damage, on one continuous clock."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, cast

import av
from av.container import InputContainer
from av.format import Flags
from av.packet import Packet
from av.stream import Discard
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from endofm.video.damage import DamageLog

_MAX_ERRORS_IN_A_ROW = 100

# A jump of the clock by more than this is a cut between recordings, not a gap in one; FFmpeg's own default for
# formats whose clock may jump (option -dts_delta_threshold, ffmpeg manual, "Advanced options").
_JUMP_SECONDS = 10.0
_STEP_BACK_SECONDS = 0.5

# Program streams stamp a few frames a second; what libavformat guesses in between may be some frames off.
_GUESS_SECONDS = 0.25

_FALLBACK_RATE = Fraction(25)


@dataclass(frozen=True)
class Clock:
    """How the frames of a stream get their times.

    Attributes:
        tick: Seconds per tick.
        frame_ticks: Ticks per frame at the nominal rate.
        source: ``"pts"``: the container stores when a frame appears. ``"dts"``: it does not, or only now and then,
            but the times in order of decoding are sound; shown frames take them in turn. ``"count"``: it stores
            nothing, frames follow at the nominal rate.
        may_jump: The clock may start anew in the middle (MPEG transport and program streams that were joined).
    """

    tick: Fraction
    frame_ticks: Fraction
    source: Literal["pts", "dts", "count"]
    may_jump: bool

    @classmethod
    def of(cls, container: InputContainer, stream: VideoStream) -> Clock:
        """Read off the stream's clock."""
        tick = stream.time_base or Fraction(1, 1000)
        rate = stream.average_rate or stream.guessed_rate or _FALLBACK_RATE
        flags = int(container.format.flags)
        source: Literal["pts", "dts", "count"] = "pts"
        if flags & cast(int, Flags.no_timestamps.value):
            source = "count"
        elif container.format.name in ("avi", "mpeg"):
            # AVI has no presentation times at all, program streams only some; what libavformat makes up for the
            # others is out of order in places, while the decoding times are not.
            source = "dts"
        return cls(tick, 1 / (rate * tick), source, bool(flags & cast(int, Flags.ts_discont.value)))

    @property
    def step(self) -> int:
        """Ticks per frame as a whole number, >= 1."""
        return max(1, round(self.frame_ticks))

    def stamp(self, item: Packet[VideoStream] | VideoFrame) -> int | None:
        """Return the time stamp of a packet or frame in ticks, None where it has none."""
        if self.source == "count":
            return None
        return item.pts if self.source == "pts" else item.dts

    def seconds(self, ticks: int) -> float:
        """Convert a number of ticks."""
        return ticks * self.tick.numerator / self.tick.denominator


@dataclass(frozen=True)
class Origin:
    """The frame at which time is zero.

    Attributes:
        tick: Its time stamp as it left the decoder.
        packet: Number of packets before the one that decoding started with.
    """

    tick: int
    packet: int


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
    joined = _JoinedClock(clock, damage)
    errors = 0
    while errors < _MAX_ERRORS_IN_A_ROW:
        try:
            for packet in container.demux(stream):
                if packet.size:
                    errors = 0
                    joined.correct(packet)
                    yield packet
            return
        except (av.FFmpegError, OSError):
            errors += 1
            damage.note("the file is damaged or cut off: parts of it could not be read")


class _JoinedClock:
    """Makes the stamps of joined recordings continuous, and those that libavformat guesses even."""

    def __init__(self, clock: Clock, damage: DamageLog) -> None:
        self._clock, self._damage = clock, damage
        self._offset = 0
        self._next: Fraction | None = None

    def correct(self, packet: Packet[VideoStream]) -> None:
        dts = packet.dts
        if not self._clock.may_jump or dts is None:
            return
        stamp = Fraction(dts + self._offset)
        if self._next is not None:
            away = float((stamp - self._next) * self._clock.tick)
            if away > _JUMP_SECONDS or away < -_STEP_BACK_SECONDS:
                self._offset = round(self._next) - dts
                self._damage.note(
                    "the clock of the file jumps, as in recordings that were joined; the later parts were moved to "
                    "follow each other without a gap"
                )
                stamp = self._next
            elif self._clock.source == "dts" and abs(away) < _GUESS_SECONDS:
                stamp = self._next
        # Whole and half frames: a picture may be shown for three fields.
        frames = Fraction(round(2 * (packet.duration or 0) / self._clock.frame_ticks), 2) or 1
        self._next = stamp + frames * self._clock.frame_ticks
        packet.dts = round(stamp)
        if packet.pts is not None and self._offset:
            packet.pts += self._offset


def shows_frame(packet: Packet[VideoStream], codec: str) -> bool:
    """Tell whether a packet makes a frame appear; those that edit lists drop and hidden reference frames do not."""
    if packet.is_discard:
        return False
    first = memoryview(packet)[0]
    if codec == "vp8":  # RFC 6386, section 9.1: bit 4 of the frame tag is show_frame.
        return bool(first & 0x10)
    if codec == "vp9":
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
