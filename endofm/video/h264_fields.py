"""Headers of H.264 slices: packets that hold the second field of a picture, and pictures that are lost.

Interlaced recordings in transport streams (AVCHD, broadcast) have one field per packet, but two fields make one frame.
Raw streams have no times in which a lost picture would leave a gap, but they number their pictures.
Syntax elements are named and ordered as in ITU-T H.264, clauses 7.3.2.1.1 (sequence parameter set), 7.3.2.2 (picture
parameter set) and 7.3.3 (slice header).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

_SLICE, _IDR_SLICE, _SPS, _PPS = 1, 5, 7, 8
_PROFILES_WITH_CHROMA_FORMAT = {100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135}

# More uneven steps than these are a habit of the encoder.
_FEW_GAPS = 2


@dataclass(frozen=True)
class _Sps:
    frame_num_bits: int
    separate_planes: bool
    order_bits: int
    may_have_gaps: bool
    may_have_fields: bool


@dataclass(frozen=True)
class _Slice:
    first_macroblock: int
    frame_num: int
    is_field: bool
    bottom: bool
    order: int
    idr_number: int | None


class FieldPairing:
    """Follows the packets of one H.264 stream in order of decoding.

    Args:
        header: Parameter sets from the container's header, with start codes.
    """

    def __init__(self, header: bytes) -> None:
        self._sets = _ParameterSets()
        self._first: _Slice | None = None
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

    def _read(self, packet: bytes) -> _Slice | None:
        """Read the first slice header of a packet; None if it holds no slice or a complete frame."""
        for unit in h264_units(packet):
            if unit[0] & 0x1F in (_SLICE, _IDR_SLICE):
                if not any(sps.may_have_fields for sps in self._sets.sps.values()):
                    return None
                found = self._sets.read_slice(unit)
                return found if found.is_field else None
            self._sets.read(unit)
        return None


class _ParameterSets:
    """Parameter sets of one stream, by which its slices are read."""

    def __init__(self) -> None:
        self.sps: dict[int, _Sps] = {}
        self._sps_of_pps: dict[int, int] = {}

    def read(self, unit: bytes) -> None:
        """Read a NAL unit if it is a parameter set."""
        kind = unit[0] & 0x1F
        if kind == _SPS:
            number, sps = _read_sps(unit)
            self.sps[number] = sps
        elif kind == _PPS:
            bits = _Bits(unit)
            number = bits.ue()
            self._sps_of_pps[number] = bits.ue()

    def sps_of(self, unit: bytes) -> _Sps:
        """Return the sequence parameter set of a slice."""
        bits = _Bits(unit)
        bits.ue()  # first_mb_in_slice
        bits.ue()  # slice_type
        return self.sps[self._sps_of_pps[bits.ue()]]

    def read_slice(self, unit: bytes) -> _Slice:
        """Read the header of a slice."""
        bits = _Bits(unit)
        first = bits.ue()
        bits.ue()  # slice_type
        sps = self.sps[self._sps_of_pps[bits.ue()]]
        if sps.separate_planes:
            bits.u(2)
        frame_num = bits.u(sps.frame_num_bits)
        is_field = bool(sps.may_have_fields and bits.u(1))
        bottom = bool(is_field and bits.u(1))
        idr_number = bits.ue() if unit[0] & 0x1F == _IDR_SLICE else None
        return _Slice(first, frame_num, is_field, bottom, bits.u(sps.order_bits), idr_number)


class PictureNumbers:
    """Follows the numbers of the pictures of one raw stream, to find out whether some are lost.

    ``frame_num`` counts reference pictures without a gap (clause 7.4.3). The picture order count is even by custom: a
    few gaps in an otherwise even count are lost pictures as well.
    """

    def __init__(self) -> None:
        self._sets = _ParameterSets()
        self._reference: int | None = None
        self._orders: list[int] = []
        self._steps: list[int] = []
        self._gap = False
        self._headers: dict[int, bytes] = {}
        self._idr_numbers: list[int | None] = []

    def read(self, unit: bytes) -> None:
        """Read the beginning of the next NAL unit of the stream, emulation prevention removed."""
        kind = unit[0] & 0x1F
        if kind not in (_SLICE, _IDR_SLICE):
            self._sets.read(unit)
            if kind == _SPS:
                # Repeated for those who join late; a stream whose header changes was joined, or is damaged.
                number, _ = _read_sps(unit)
                self._gap |= self._headers.setdefault(number, unit.rstrip(b"\0")) != unit.rstrip(b"\0")
            return
        sps, found = self._sets.sps_of(unit), self._sets.read_slice(unit)
        if kind == _IDR_SLICE and found.first_macroblock == 0 and not found.bottom:
            self._end_sequence()
            self._idr_numbers.append(found.idr_number)
            self._reference = found.frame_num
        following = None if self._reference is None else (self._reference + 1) % (1 << sps.frame_num_bits)
        if not sps.may_have_gaps and following is not None and found.frame_num not in (self._reference, following):
            self._gap = True
        if unit[0] & 0x60 or self._reference is None:
            self._reference = found.frame_num
        if found.first_macroblock == 0 and sps.order_bits and not found.is_field:
            self._orders.append(self._unwrapped(found.order, 1 << sps.order_bits))

    def _unwrapped(self, order: int, modulus: int) -> int:
        """Return the picture order count whose lower bits are ``order``, the nearest to the latest one."""
        if not self._orders:
            return order
        latest = self._orders[-1]
        return latest + (order - latest + modulus // 2) % modulus - modulus // 2

    def _end_sequence(self) -> None:
        orders = sorted(set(self._orders))
        self._gap |= len(orders) < len(self._orders)
        self._steps += [after - before for before, after in pairwise(orders)]
        self._orders.clear()

    def has_gap(self) -> bool:
        """Return whether pictures are lost or repeated or headers differ, once the whole stream was read."""
        self._end_sequence()
        usual = sorted(self._steps)[len(self._steps) // 2] if self._steps else 0
        wide = sum(step > usual for step in self._steps)
        few = max(_FEW_GAPS, len(self._steps) // 100)
        # Encoders give successive IDR pictures different numbers.
        equal = sum(before == after for before, after in pairwise(self._idr_numbers))
        return self._gap or 0 < wide <= few or (0 < equal <= _FEW_GAPS and equal < len(self._idr_numbers) // 2)


def h264_units(data: bytes, end: int | None = None) -> Iterator[bytes]:
    """Yield the beginnings of the NAL units whose start codes begin before ``end``, as far as headers reach."""
    limit = len(data) if end is None else end
    start = data.find(b"\0\0\1")
    while 0 <= start < limit:
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
    order_type, order_bits = bits.ue(), 0
    if order_type == 0:
        order_bits = bits.ue() + 4
    elif order_type == 1:
        bits.u(1)
        bits.se()
        bits.se()
        for _ in range(bits.ue()):
            bits.se()
    bits.ue()  # max_num_ref_frames
    may_have_gaps = bool(bits.u(1))
    bits.ue()  # pic_width_in_mbs_minus1
    bits.ue()  # pic_height_in_map_units_minus1
    frame_mbs_only = bits.u(1)
    return number, _Sps(frame_num_bits, separate_planes, order_bits, may_have_gaps, not frame_mbs_only)


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
