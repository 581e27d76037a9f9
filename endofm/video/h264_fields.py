"""Detection of H.264 packets that hold the second field of a picture.

Interlaced recordings in transport streams (AVCHD, broadcast) have one field per packet, but two fields make one frame.
Syntax elements are named and ordered as in ITU-T H.264, clauses 7.3.2.1.1 (sequence parameter set), 7.3.2.2 (picture
parameter set) and 7.3.3 (slice header).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

_SLICE, _IDR_SLICE, _SPS, _PPS = 1, 5, 7, 8
_PROFILES_WITH_CHROMA_FORMAT = {100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135}


@dataclass(frozen=True)
class _Sps:
    frame_num_bits: int
    separate_planes: bool
    may_have_fields: bool


@dataclass(frozen=True)
class _Field:
    frame_num: int
    bottom: bool


class FieldPairing:
    """Follows the packets of one H.264 stream in order of decoding.

    Args:
        header: Parameter sets from the container's header, with start codes.
    """

    def __init__(self, header: bytes) -> None:
        self._sps: dict[int, _Sps] = {}
        self._sps_of_pps: dict[int, int] = {}
        self._first: _Field | None = None
        self.is_second_field(header)

    def is_second_field(self, packet: bytes) -> bool:
        """Return whether this packet completes the frame that the packet before it began.

        Args:
            packet: Annex B data (with start codes) of one access unit.
        """
        try:
            field = self._read(packet)
        except (IndexError, KeyError):
            # A damaged or unusual header: the packet counts as a frame.
            field = None
        first, self._first = self._first, field
        # The second field has the frame_num of the first and the opposite parity.
        if first is None or field is None or (field.frame_num, field.bottom) != (first.frame_num, not first.bottom):
            return False
        self._first = None
        return True

    def _read(self, packet: bytes) -> _Field | None:
        """Read the first slice header of a packet; None if it holds no slice or a complete frame."""
        for unit in _units(packet):
            kind = unit[0] & 0x1F
            if kind == _SPS:
                number, sps = _read_sps(unit)
                self._sps[number] = sps
            elif kind == _PPS:
                bits = _Bits(unit)
                number = bits.ue()
                self._sps_of_pps[number] = bits.ue()
            elif kind in (_SLICE, _IDR_SLICE):
                if not any(sps.may_have_fields for sps in self._sps.values()):
                    return None
                return self._read_slice(unit)
        return None

    def _read_slice(self, unit: bytes) -> _Field | None:
        bits = _Bits(unit)
        bits.ue()  # first_mb_in_slice
        bits.ue()  # slice_type
        sps = self._sps[self._sps_of_pps[bits.ue()]]
        if not sps.may_have_fields:
            return None
        if sps.separate_planes:
            bits.u(2)
        frame_num = bits.u(sps.frame_num_bits)
        is_field = bits.u(1)
        return _Field(frame_num, bool(bits.u(1))) if is_field else None


def _units(data: bytes) -> Iterator[bytes]:
    """Yield the beginnings of the NAL units, as far as headers reach."""
    start = data.find(b"\0\0\1")
    while start >= 0:
        following = data.find(b"\0\0\1", start + 3)
        end = following if following >= 0 else len(data)
        # Parameter sets and slice headers are far shorter than 300 bytes.
        unit = data[start + 3 : min(end, start + 300)]
        if unit:
            # 00 00 03 is an emulation prevention byte (clause 7.4.1): it is not part of the payload.
            yield unit.replace(b"\0\0\3", b"\0\0")
        start = following


def _read_sps(unit: bytes) -> tuple[int, _Sps]:
    bits = _Bits(unit)
    profile = bits.u(8)
    bits.u(16)  # Constraint flags and level.
    number = bits.ue()
    separate_planes = False
    if profile in _PROFILES_WITH_CHROMA_FORMAT:
        chroma_format = bits.ue()
        if chroma_format == 3:
            separate_planes = bool(bits.u(1))
        bits.ue()  # bit_depth_luma_minus8
        bits.ue()  # bit_depth_chroma_minus8
        bits.u(1)  # qpprime_y_zero_transform_bypass_flag
        if bits.u(1):
            for index in range(12 if chroma_format == 3 else 8):
                if bits.u(1):
                    _skip_scaling_list(bits, 16 if index < 6 else 64)
    frame_num_bits = bits.ue() + 4
    order_type = bits.ue()
    if order_type == 0:
        bits.ue()
    elif order_type == 1:
        bits.u(1)
        bits.se()
        bits.se()
        for _ in range(bits.ue()):
            bits.se()
    bits.ue()  # max_num_ref_frames
    bits.u(1)  # gaps_in_frame_num_value_allowed_flag
    bits.ue()  # pic_width_in_mbs_minus1
    bits.ue()  # pic_height_in_map_units_minus1
    frame_mbs_only = bits.u(1)
    return number, _Sps(frame_num_bits, separate_planes, not frame_mbs_only)


def _skip_scaling_list(bits: _Bits, size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following:
            following = (last + bits.se()) % 256
        last = following or last


class _Bits:
    """Bit reader over a NAL unit, after its first byte; raises IndexError at the end."""

    def __init__(self, unit: bytes) -> None:
        self._unit, self._position = unit, 8

    def u(self, count: int) -> int:
        value = 0
        for _ in range(count):
            byte = self._unit[self._position // 8]
            value = 2 * value + (byte >> (7 - self._position % 8) & 1)
            self._position += 1
        return value

    def ue(self) -> int:
        """Exp-Golomb code (clause 9.1)."""
        zeros = 0
        while not self.u(1):
            zeros += 1
        return (1 << zeros) - 1 + self.u(zeros)

    def se(self) -> int:
        code = self.ue()
        return (code + 1) // 2 if code % 2 else -(code // 2)
