"""Reading the packets of a video stream past damage, on one continuous clock."""

from __future__ import annotations

from collections.abc import Iterator

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Discard
from av.video.stream import VideoStream

from endofm.video.clock import Clock, JoinedClock
from endofm.video.damage import DamageLog

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
