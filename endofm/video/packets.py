"""Reading the packets of a video stream past damage, on one continuous clock."""

from __future__ import annotations

from collections.abc import Iterator

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Discard
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from endofm.video.clock import Clock, JoinedClock
from endofm.video.damage import DamageLog
from endofm.video.h264_fields import FieldPairing

_MAX_ERRORS_IN_A_ROW = 100


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
