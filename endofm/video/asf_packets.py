"""Packets of an ASF or WMV file, and the parts of frames in them (Advanced Systems Format Specification 1.2)."""

from __future__ import annotations

import struct

from endofm.video.container import Damage, FileBytes

# Bytes of an integer by two bits that describe it.
_WIDTHS = (0, 1, 2, 4)

# Widths of the fields of a payload; the specification (5.2.2) knows no others.
_PROPERTIES = 0x5D

_ASF_FILE, _ASF_DATA = "a1dcab8c47a9cf118ee400c00c205365", "3626b2758e66cf11a6d900aa0062ce6c"


class AsfWalk:
    """Walk through an ASF or WMV file; :class:`Damage` at the first contradiction."""

    def __init__(self, file: FileBytes) -> None:
        self._file = file
        # Of every stream: number of its latest object, bytes of it so far, bytes that it should have.
        self._objects: dict[int, tuple[int, int, int]] = {}
        position = packets = packet_size = 0
        while position < file.size:
            name, size = self._object(position)
            file.require(position + size)
            if position == 0:
                packets, packet_size = self._properties(size)
            elif name == _ASF_DATA and packets:
                if size != 50 + packets * packet_size:
                    raise Damage.at(position, "the number of packets does not match the header")
                for packet in range(position + 50, position + size, packet_size):
                    self._packet(packet, file.read(packet, packet_size))
            position += size
        if any(have != size for _, have, size in self._objects.values()):
            raise Damage("the last frame of the file is not complete")

    def _object(self, position: int) -> tuple[str, int]:
        name, size = struct.unpack("<16sQ", self._file.read(position, 24))
        if size < 24:
            raise Damage.at(position, "no part of an ASF file begins here")
        return name.hex(), size

    def _properties(self, end: int) -> tuple[int, int]:
        """Return number and size of the packets; none for a live stream, which states neither."""
        position = 30
        while position < end:
            name, size = self._object(position)
            if name == _ASF_FILE:
                content = self._file.read(position + 40, 60)
                total, packets, flags, packet_size, largest = struct.unpack("<Q8xQ24x3I", content)
                if flags & 1 or not packets or not packet_size:
                    return 0, 0
                if total != self._file.size:
                    self._file.require(total)
                    raise Damage(f"the file should have {total:,} bytes and has {self._file.size:,}; it is damaged")
                # The smallest and the largest packet; the specification (3.2) has one size for all.
                if packet_size != largest:
                    raise Damage.at(position, "the header states two sizes of packets")
                return packets, packet_size
            position += size
        return 0, 0

    def _packet(self, start: int, data: bytes) -> None:
        position = 0

        def number(kind: int) -> int:
            """Read an integer whose width two bits give."""
            nonlocal position
            width = _WIDTHS[kind & 3]
            position += width
            return int.from_bytes(data[position - width : position], "little")

        if data[0] & 0x80:
            position = 1 + (data[0] & 15)
        lengths, fields = data[position], data[position + 1]
        position += 2
        if fields != _PROPERTIES:
            raise Damage.at(start, "no packet of an ASF file begins here")
        total = number(lengths >> 5) or len(data)
        number(lengths >> 1)
        end = total - number(lengths >> 3)
        position += 6
        count, width = 1, 0
        if lengths & 1:
            count, width = data[position] & 63, data[position] >> 6
            position += 1
        for _ in range(count):
            stream = data[position] & 0x7F
            position += 1
            ordinal, offset, extra = number(fields >> 4), number(fields >> 2), number(fields)
            object_size = int.from_bytes(data[position : position + 4], "little")
            position += extra
            size = number(width) if lengths & 1 else end - position
            if size < 0 or position + size > end or end > len(data):
                raise Damage.at(start, "no packet of an ASF file begins here")
            # One byte says that several small objects (of sound) follow, which are not numbered.
            if extra >= 8:
                self._follow(
                    start, stream, (ordinal, offset, size, object_size), 1 << 8 * (0, 1, 2, 4)[fields >> 4 & 3]
                )
            position += size

    def _follow(self, start: int, stream: int, part: tuple[int, int, int, int], numbers: int) -> None:
        """Check that a part of an object follows the latest part of its stream."""
        ordinal, offset, size, total = part
        last, have, wanted = self._objects.get(stream, ((ordinal if offset else ordinal - 1) % numbers, offset, 0))
        begins = offset == 0 and ordinal == (last + 1) % numbers and (have == wanted or stream not in self._objects)
        continues = ordinal == last and offset == have and (total == wanted or stream not in self._objects)
        if not (begins or continues) or offset + size > total:
            raise Damage.at(start, "parts of frames are missing, repeated or out of order")
        self._objects[stream] = ordinal, offset + size, total
