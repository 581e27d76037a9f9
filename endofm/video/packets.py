"""Packets of a video stream: read past damage on one continuous clock, indexed without decoding.

:func:`read_packets` and :func:`scan_packets` read; :class:`FrameFinder` knows which packets show a frame;
:class:`DamageLog` collects what is lost and describes it in sentences.
"""

from __future__ import annotations

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

from endofm.video.container import LONGEST_FRAME_SECONDS, Clock, MediaSource, Origin, video_stream
from endofm.video.frames import Float64Array
from endofm.video.h264_fields import FieldPairing

Int64Array = npt.NDArray[np.int64]

# FFmpeg finds the next packet after most errors. This many without one in between is a file that gives nothing more.
_MAX_ERRORS_IN_A_ROW = 100

_JOINT_PACKETS = 5
_LOST_PACKETS = "packets are missing or damaged; some pictures may be wrong or missing"

# A jump of the clock by more than this is a cut between recordings, not a gap in one; FFmpeg's own default for
# formats whose clock may jump (option -dts_delta_threshold, ffmpeg manual, "Advanced options").
_JUMP_SECONDS = 10.0
_STEP_BACK_SECONDS = 0.5

# Program streams time-stamp a few frames per second; libavformat interpolates the others, sometimes by frames too
# early or late.
_GUESS_SECONDS = 0.25

# Damage at a smaller distance is reported as one stretch.
_JOIN_SECONDS = 1.0
_MAX_SENTENCES = 20

# A gap between frames is reported if it is this long, in a video whose frames otherwise come at an even rate.
_MIN_HOLE_SECONDS = 0.25
_MIN_HOLE_STEPS = 3.0
_EVEN_FRACTION = 0.9

# In a video of many steps of which only a few differ, by more than this fraction, those few are reported whatever
# their length: one lost frame, or a damaged time stamp.
_UNEVEN = 0.6
_FEWEST_STEPS = 8
_FEW_UNEVEN, _FEW_UNEVEN_FRACTION = 2, 0.01


def read_packets(
    container: InputContainer, stream: VideoStream, clock: Clock, damage: DamageLog
) -> Iterator[Packet[VideoStream]]:
    """Yield the packets of ``stream`` that hold data, in file order.

    Errors of the container are recorded and skipped. Where the clock jumps between joined recordings, the time stamps
    of the later part are shifted to follow the earlier one.
    """
    # FFmpeg then skips their packets while demuxing, which saves most of the time in files with sound.
    for other in container.streams:
        if other.index != stream.index:
            other.discard = Discard.all
    joined = JoinedClock(clock, damage)
    errors = 0
    # A packet that libavformat found damaged is reported once it is clear that no joint between recordings follows,
    # where the counters of transport packets start over as well as the clock.
    suspected = 0
    while errors < _MAX_ERRORS_IN_A_ROW:
        try:
            for packet in container.demux(stream):
                if packet.size:
                    errors = 0
                    suspected = 0 if joined.correct(packet) else max(suspected - 1, 0)
                    if packet.is_corrupt:
                        suspected = _JOINT_PACKETS
                    if suspected == 1:
                        damage.note("packets", _LOST_PACKETS)
                    yield packet
            if suspected:
                damage.note("packets", _LOST_PACKETS)
            return
        except IndexError:
            # PyAV raises this at the end of a file in which further streams appeared after the header.
            return
        except (av.FFmpegError, OSError):
            errors += 1
            damage.note("container", "the file is damaged or cut off: parts of it could not be read")


class FrameFinder:
    """Decides which packets of a stream show a frame, given all of them in file order.

    Packets that edit lists drop show none, nor do hidden reference frames of VP8 and VP9, nor second fields of H.264.

    Args:
        codec: Codec context of the stream.
    """

    def __init__(self, codec: VideoCodecContext) -> None:
        self._codec = codec.codec.canonical_name
        # MP4 and Matroska (whose extradata begins with the version, 1) keep both fields of a frame in one packet.
        header = codec.extradata or b""
        has_start_codes = not header.startswith(b"\x01")
        self._fields = FieldPairing(header) if self._codec == "h264" and has_start_codes else None

    def shows_frame(self, packet: Packet[VideoStream]) -> bool:
        """Return whether this packet, the next of the file, shows a frame."""
        if self._fields is not None and self._fields.is_second_field(bytes(packet)):
            return False
        if packet.is_discard:
            return False
        if self._codec == "vp8":
            # RFC 6386, section 9.1: bit 4 of the frame tag is show_frame.
            return bool(memoryview(packet)[0] & 0x10)
        if self._codec == "vp9":
            return _vp9_shows_frame(memoryview(packet))
        return True


def _vp9_shows_frame(data: memoryview) -> bool:
    """Read the start of the uncompressed header (VP9 bitstream specification 0.6, section 6.2)."""
    # A superframe (annex B) holds hidden frames and, last, the one that is shown.
    if data[-1] & 0xE0 == 0xC0:
        return True
    bits = f"{data[0]:08b}"
    # Two bits of frame marker and two of profile, then the flag; profile 3 has one more reserved bit.
    position = 5 if bits[2:4] == "11" else 4
    if bits[position] == "1":  # show_existing_frame
        return True
    return bits[position + 2] == "1"


class JoinedClock:
    """Makes the time stamps of joined recordings continuous, and those that libavformat interpolates even."""

    def __init__(self, clock: Clock, damage: DamageLog) -> None:
        self._clock, self._damage = clock, damage
        self._offset = 0
        self._last: int | None = None
        self._next: Fraction | None = None
        # A clock that does not restart is bounded by the length in the header; where there is none, by reason.
        seconds = (_JUMP_SECONDS, _STEP_BACK_SECONDS) if clock.may_jump else (LONGEST_FRAME_SECONDS,) * 2
        self._furthest, self._furthest_back = seconds
        self._longest = round(LONGEST_FRAME_SECONDS / clock.tick)
        self._shown_until = 0

    def correct(self, packet: Packet[VideoStream]) -> bool:
        """Correct the time stamps of the next packet of the file, in place; return whether the clock jumps there."""
        dts = packet.dts
        if dts is None or not (self._clock.may_jump or self._clock.latest is None):
            return False
        if not (self._clock.may_jump or self._offset):
            last, self._last = self._last, dts
            if last is None or abs(dts - last) <= self._longest:
                self._note_shown(packet)
                return False
            self._next = Fraction(last + self._clock.step)
        stamp, jumps = Fraction(dts + self._offset), False
        if self._next is not None:
            away = float((stamp - self._next) * self._clock.tick)
            jumps = away > self._furthest or away < -self._furthest_back
            if jumps:
                # Presentation stamps may run ahead of decoding stamps by the reordering delay; the later part begins
                # where the earlier one ends on the clock that the frames are timed by.
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
        # Rounded to half frames, since a picture may be shown for three fields.
        frames = Fraction(round(2 * (packet.duration or 0) / self._clock.frame_ticks), 2) or 1
        self._next = stamp + frames * self._clock.frame_ticks
        packet.dts = round(stamp)
        if packet.pts is not None:
            packet.pts += self._offset
        self._note_shown(packet)
        return jumps

    def _note_shown(self, packet: Packet[VideoStream]) -> None:
        if packet.pts is not None:
            self._shown_until = max(self._shown_until, packet.pts + (packet.duration or self._clock.step))


@dataclass(frozen=True, eq=False)
class PacketIndex:
    """Times of all frames, and packets at which decoding can start.

    Attributes:
        times: Seconds after the first frame at which frames appear, ascending, float64 ``(num_frames,)``.
        end: Time at which the last frame ends, in seconds.
        key_times: Earliest times at which key frames appear, seconds; float64 ``(num_keys,)``, in file order.
        key_ordinals: Number of packets before each key frame, int64 ``(num_keys,)``.
    """

    times: Float64Array
    end: float
    key_times: Float64Array
    key_ordinals: Int64Array


def scan_packets(medium: MediaSource, clock: Clock, origin: Origin, damage: DamageLog) -> PacketIndex:
    """Read all packets of the video once, without decoding.

    Args:
        medium: The file.
        clock: Clock of the video stream.
        origin: Frame at time zero; packets before it are ignored.
        damage: Records what cannot be read.
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
                damage.ignore_stamp(clock.stored_stamp(packet))
                stamp = stamps[-1] + clock.step if stamps else origin.tick
            if packet.is_keyframe and shown:
                keys.append((stamp, ordinal))
            # Leading frames of the first key frame lack the frames that they were predicted from; they are never shown.
            leading = clock.leads(packet.pts, first_pts)
            early = clock.source == "pts" and stamp < origin.tick
            if shown and not leading and not early:
                stamps.append(stamp)
                durations.append(packet.duration or clock.step)
    # The file has changed since its first frame was decoded, or cannot be read any more.
    if not stamps:
        stamps, durations = [origin.tick], [clock.step]
    ticks = np.array(stamps, np.int64)
    if clock.source == "dts":
        ticks, last_duration = _shown_in_turn(ticks, origin.tick, clock.step), clock.step
    else:
        order = np.argsort(ticks, kind="stable")
        ticks, last_duration = ticks[order], durations[order[-1]] if clock.source == "pts" else clock.step
        last_duration = clock.lasting(int(ticks[-1]), last_duration)
    if clock.source == "pts":
        damage.steps(ticks)
    numerator, denominator = clock.tick.numerator, clock.tick.denominator
    return PacketIndex(
        times=(ticks - origin.tick) * numerator / denominator,
        end=clock.seconds(int(ticks[-1]) - origin.tick + last_duration),
        key_times=np.array([clock.seconds(stamp - origin.tick) for stamp, _ in keys], np.float64),
        key_ordinals=np.array([ordinal for _, ordinal in keys], np.int64),
    )


def _shown_in_turn(decoding_ticks: Int64Array, first: int, step: int) -> Int64Array:
    """Return the times of frames that take the decoding times in turn, in the order in which they leave the decoder.

    The first frame leaves the decoder some packets late, at ``first``; equally many leave it after the last packet, one
    nominal step apart.
    """
    ticks = np.maximum.accumulate(decoding_ticks)
    late = int(np.searchsorted(ticks, first))
    return np.concatenate([ticks[late:], ticks[-1] + step * np.arange(1, late + 1)])


class DamageLog:
    """Damage met while decoding; the same damage met twice counts once.

    Times are stored in ticks of the stream's clock, because the time of the first frame is not known at the start.
    """

    def __init__(self) -> None:
        self._lost: set[int] = set()
        self._spoiled: set[int] = set()
        self._holes: dict[int, tuple[int, float]] = {}
        self._breaks: dict[int, tuple[int, float]] = {}
        self._steps = self._even_steps = 0
        self._notes: dict[str, str] = {}

    def lost(self, tick: int) -> None:
        """Record that the frame at ``tick`` was not decoded."""
        self._lost.add(tick)

    def spoiled(self, tick: int) -> None:
        """Record that the frame at ``tick`` was decoded with errors that the decoder covered up."""
        self._spoiled.add(tick)

    def step(self, start: int, end: int, usual: int) -> None:
        """Record that frames follow each other at ``start`` and ``end``, ``usual`` ticks apart at the nominal rate."""
        self._steps += 1
        self._even_steps += 0.5 * usual <= end - start <= 1.5 * usual
        if end - start > _MIN_HOLE_STEPS * usual:
            self._holes[start] = end, usual

    def steps(self, ticks: Int64Array) -> None:
        """Record what breaks the rhythm of a video whose frames otherwise follow each other evenly.

        Args:
            ticks: Time stamps of all frames, ascending.
        """
        gaps = np.diff(ticks)
        if len(gaps) < _FEWEST_STEPS:
            return
        usual = float(np.median(gaps))
        uneven = np.flatnonzero(np.abs(gaps - usual) > max(_UNEVEN * usual, 1.5))
        if usual and len(uneven) <= max(_FEW_UNEVEN, _FEW_UNEVEN_FRACTION * len(gaps)):
            for index in uneven:
                if gaps[index] > usual:
                    self._breaks[int(ticks[index])] = int(ticks[index + 1]), usual
                else:
                    self.note("rhythm", "a few frames follow each other at odd times; their time stamps may be wrong")

    def ignore_stamp(self, stamp: int | None) -> None:
        """Record a time stamp that is not plausible; None, no time stamp at all, is nothing to record."""
        if stamp is not None:
            self.note(
                "stamps",
                "time stamps far beyond the length of the video were ignored; such frames follow at the nominal rate, "
                "and their times may be wrong",
            )

    def note(self, topic: str, sentence: str) -> None:
        """Record any other problem; a later sentence on the same topic replaces the earlier one."""
        self._notes[topic] = sentence

    @property
    def has_lost_frames(self) -> bool:
        """True if some packets gave no frame."""
        return bool(self._lost)

    def sentences(self, seconds: Callable[[int], float]) -> tuple[str, ...]:
        """Return one sentence per stretch of damage.

        Args:
            seconds: Converts ticks to seconds after the first frame.
        """
        lost = sorted(seconds(tick) for tick in self._lost)
        spoiled = sorted(seconds(tick) for tick in self._spoiled - self._lost)
        early = sum(time < 0 for time in lost)
        # Frames before the first decodable one have negative times, which would only confuse.
        sentences = [f"{_frames(early)} before the first one that could be decoded could not"] if early else []
        sentences += [f"{_span(stretch)} could not be decoded" for stretch in _stretches(lost[early:])]
        sentences += [f"{_span(stretch)} may look damaged, decoded with errors" for stretch in _stretches(spoiled)]
        sentences += self._missing(seconds)
        if len(sentences) > _MAX_SENTENCES:
            rest = len(sentences) - _MAX_SENTENCES
            sentences = [*sentences[:_MAX_SENTENCES], f"and {rest} more stretches like these"]
        return (*self._notes.values(), *sentences)

    def _missing(self, seconds: Callable[[int], float]) -> list[str]:
        # In a recording of variable rate, long steps are normal.
        even = self._even_steps >= _EVEN_FRACTION * self._steps
        sentences = []
        for start, (end, usual) in sorted({**(self._holes if even else {}), **self._breaks}.items()):
            long = start in self._breaks or seconds(end) - seconds(start) > _MIN_HOLE_SECONDS
            if long and not any(start < tick < end for tick in self._lost):
                missing = round((end - start) / usual) - 1
                sentences.append(
                    f"about {_frames(missing)} between {seconds(start):.3f} s and {seconds(end):.3f} s are missing "
                    f"from the file"
                )
        return sentences


def _stretches(times: list[float]) -> list[list[float]]:
    stretches: list[list[float]] = []
    for time in times:
        if stretches and time - stretches[-1][-1] <= _JOIN_SECONDS:
            stretches[-1].append(time)
        else:
            stretches.append([time])
    return stretches


def _frames(count: int) -> str:
    return "1 frame" if count == 1 else f"{count} frames"


def _span(times: list[float]) -> str:
    when = f"at {times[0]:.3f} s" if len(times) == 1 else f"from {times[0]:.3f} s to {times[-1]:.3f} s"
    return f"{_frames(len(times))} {when}"
