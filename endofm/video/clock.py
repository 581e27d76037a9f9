"""When frames appear: what containers store about it, and how it is put right."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, cast

from av.container import InputContainer
from av.format import Flags
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from endofm.video.damage import DamageLog

# A jump of the clock by more than this is a cut between recordings, not a gap in one; FFmpeg's own default for
# formats whose clock may jump (option -dts_delta_threshold, ffmpeg manual, "Advanced options").
_JUMP_SECONDS = 10.0
_STEP_BACK_SECONDS = 0.5

# Program streams stamp a few frames a second; what libavformat guesses in between may be some frames off.
_GUESS_SECONDS = 0.25

# A stamp so far beyond the length in the header is damage. Left alone, one flipped bit would make a video of weeks.
_BEYOND_SECONDS = 10.0
_LENGTH_IN_HEADER = {"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "asf", "flv"}

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
        holds_after_jump: Frames get the same stamps when decoding begins at a later key frame.
        latest: Stamps beyond this one are not believed; None if the header states no length.
    """

    tick: Fraction
    frame_ticks: Fraction
    source: Literal["pts", "dts", "count"]
    may_jump: bool
    holds_after_jump: bool
    latest: int | None = None

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
        latest: int | None = None
        lengths = (announced_seconds(container, stream), (container.duration or 0) / 1_000_000)  # AV_TIME_BASE ticks.
        length = max(seconds or 0.0 for seconds in lengths)
        if length and container.format.name in _LENGTH_IN_HEADER:
            latest = (stream.start_time or 0) + round((length + _BEYOND_SECONDS) / tick)
        # On the decoding clock, a frame's stamp depends on how long the decoder holds it back. These codecs do not fix
        # that: after a jump it may differ.
        varying = stream.codec_context.codec.canonical_name in ("h264", "hevc", "vvc")
        return cls(
            tick=tick,
            frame_ticks=1 / (rate * tick),
            source=source,
            may_jump=bool(flags & cast(int, Flags.ts_discont.value)),
            holds_after_jump=source == "pts" or (source == "dts" and not varying),
            latest=latest,
        )

    @property
    def step(self) -> int:
        """Ticks per frame as a whole number, >= 1."""
        return max(1, round(self.frame_ticks))

    def stamp(self, item: Packet[VideoStream] | VideoFrame) -> int | None:
        """Return the time stamp of a packet or frame in ticks, None where it has none that can be believed."""
        if self.source == "count":
            return None
        stamp = item.pts if self.source == "pts" else item.dts
        if stamp is None or (self.latest is not None and stamp > self.latest):
            return None
        if item.dts is not None and abs(stamp - item.dts) > max(_BEYOND_SECONDS / self.tick, 100 * self.step):
            return None  # No codec keeps a frame back for so long.
        return stamp

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


def announced_seconds(container: InputContainer, stream: VideoStream) -> float | None:
    """Return how long the video is according to the header, in seconds; None if the header does not say."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    clock = stream.metadata.get("DURATION", "")  # Matroska writes "00:01:02.345000000" beside each track.
    if re.fullmatch(r"\d+:\d\d:\d\d(\.\d+)?", clock):
        hours, minutes, seconds = clock.split(":")
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    if container.duration and len(container.streams) == 1:
        return container.duration / 1_000_000  # AV_TIME_BASE ticks.
    return None
