"""Checks of the structure of containers: chains, sizes, counts and checksums, without decoding.

libavformat reads past damage without a word. Each check follows a file from its first byte to its last, by the
specification of its container, and stops at the first contradiction. :mod:`endofm.video.movie_index` checks MP4.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections import Counter
from collections.abc import Callable
from typing import Any

from endofm.video.asf_packets import AsfWalk
from endofm.video.avi_chunks import AviWalk
from endofm.video.container import Damage, FileBytes
from endofm.video.h264_fields import PictureNumbers, h264_units
from endofm.video.matroska_elements import MatroskaWalk

_CHUNK = 1 << 20  # Bytes that are read at once.


def check_structure(file: FileBytes, container: str) -> None:
    """Raise at the first damage to the structure of a file; do nothing for a container without a check.

    Args:
        file: Bytes of the file.
        container: Name of its format in libavformat.

    Raises:
        Damage: With a sentence about it.
    """
    check = _CHECKS.get(container)
    if check is not None:
        check(file)


# --- MXF (SMPTE ST 377-1): keys, lengths and values, one after the other ---

_MXF_KEY = b"\x06\x0e\x2b\x34"
_MXF_RUN_IN = 1 << 16


def _check_mxf(file: FileBytes) -> None:
    position = max(file.read(0, min(_MXF_RUN_IN, file.size)).find(_MXF_KEY), 0)
    while position < file.size:
        head = file.read(position, min(25, file.size - position))
        if len(head) < 17 or not head.startswith(_MXF_KEY):
            raise Damage.at(position, "the chain of values is broken")
        digits = head[16] - 128 if head[16] >= 128 else 0
        length = int.from_bytes(head[17 : 17 + digits], "big") if digits else head[16]
        position += 17 + digits + length
    if position > file.size:
        raise Damage("the file ends inside a value; it was cut off")


# --- Ogg (RFC 3533) ---

_BACKWARDS = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def _crc32_forwards(data: bytes) -> int:
    """Return the checksum of Ogg and NUT: that of zlib with bits in the opposite order, and no inversion."""
    value = (zlib.crc32(data.translate(_BACKWARDS), 0xFFFFFFFF) ^ 0xFFFFFFFF).to_bytes(4, "little")
    return int.from_bytes(value.translate(_BACKWARDS), "big")


def _check_ogg(file: FileBytes) -> None:
    following: dict[int, int] = {}
    position = 0
    while position < file.size:
        head = file.read(position, 27)
        if head[:5] != b"OggS\0":
            raise Damage.at(position, "no page of an Ogg file begins here")
        serial, number, stored = struct.unpack_from("<III", head, 14)
        lengths = file.read(position + 27, head[26])
        size = 27 + head[26] + sum(lengths)
        page = file.read(position, size)
        if _crc32_forwards(page[:22] + bytes(4) + page[26:]) != stored:
            raise Damage.at(position, "a checksum does not match")
        if number != following.get(serial, 0 if head[5] & 2 else number) or (head[5] & 2 and serial in following):
            raise Damage.at(position, "pages are missing, repeated or out of order")
        following[serial] = number + 1
        if head[5] & 4:
            following[serial] = -1
        position += size
    if any(number >= 0 for number in following.values()):
        raise Damage("the file does not have the mark of its end; it was cut off")


# --- NUT (NUT Open Container Format) and IVF (of libvpx) ---

_NUT_MAIN, _NUT_STREAM, _NUT_INFO = b"NM\x7aV\x1f_\x04\xad", b"NS\x11@[\xf2\xf9\xdb", b"NI\xab\x68\xb5\x96\xba\x78"
_NUT_SYNC, _NUT_INDEX = b"NK\xe4\xad\xee\xca\x45\x69", b"NX\xdd\x67/#\xe6N"


def _check_nut(file: FileBytes) -> None:
    position = len(b"nut/multimedia container\0")
    code = b""
    # Headers, and the first of the points from which decoding can start.
    while code != _NUT_SYNC:
        code = file.read(position, 8)
        if code not in (_NUT_MAIN, _NUT_STREAM, _NUT_INFO, _NUT_SYNC):
            raise Damage.at(position, "the first frames are damaged or missing")
        # A length of seven bits a byte, the first highest; behind a long one follows its own checksum.
        start = position + 8
        length = 0
        while True:
            byte = file.read(start, 1)[0]
            length, start = length << 7 | byte & 0x7F, start + 1
            if byte < 0x80:
                break
        start += 4 if length > 4096 else 0
        if _crc32_forwards(file.read(start, length)) != 0:
            raise Damage.at(position, "a checksum does not match")
        position = start + length
    if _NUT_INDEX not in file.read(max(file.size - _CHUNK, 0), min(file.size, _CHUNK)):
        raise Damage("the file has no index at its end; it was cut off")


def _check_ivf(file: FileBytes) -> None:
    _, header, rate, scale, announced = struct.unpack("<4s2xH8x3I", file.read(0, 28))
    if not (rate and scale and 0.01 <= rate / scale <= 1e6):
        raise Damage("the header of the file states an absurd clock; times may be wrong")
    position, count, latest = header, 0, -1
    while position < file.size:
        size, time = struct.unpack("<IQ", file.read(position, 12))
        if not size:
            raise Damage.at(position, "no frame of an IVF file begins here")
        if time <= latest:
            raise Damage.at(position, "a frame has no later time than the one before; times may be wrong")
        latest = time
        file.require(position + 12 + size)
        position, count = position + 12 + size, count + 1
    if announced and count < announced:
        raise Damage(f"only {count} of {announced} frames that the header announces are in the file")


# --- GIF (version 89a) ---


def _check_gif(file: FileBytes) -> None:
    def skip_blocks(position: int) -> tuple[int, list[int]]:
        """Return the end of a sequence of sub-blocks, and their lengths."""
        lengths = []
        while length := file.read(position, 1)[0]:
            lengths.append(length)
            position += 1 + length
        return position + 1, lengths

    flags = file.read(0, 13)[10]
    position = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    while (kind := file.read(position, 1)[0]) != 0x3B:
        if kind == 0x21:
            label, length = file.read(position + 1, 2)
            if (label, length) not in ((0xF9, 4), (0xFF, 11), (0x01, 12)) and label != 0xFE:
                raise Damage.at(position, "no block of a GIF file begins here")
            position, _ = skip_blocks(position + 2)
        elif kind == 0x2C:
            flags = file.read(position + 1, 9)[8]
            position += 10 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
            if not 1 <= file.read(position, 1)[0] <= 11:
                raise Damage.at(position, "no picture of a GIF file begins here")
            start = position
            position, lengths = skip_blocks(position + 1)
            # Encoders fill every sub-block of a picture but the last; a walk that went astray meets any length.
            if len(set(lengths[:-1])) > 1 or lengths[-1] > lengths[0]:
                raise Damage.at(start, "the data of a picture are not in order")
        else:
            raise Damage.at(position, "no block of a GIF file begins here")
    if file.size - position > 1 and any(file.read(position + 1, min(file.size - position - 1, _CHUNK))):
        raise Damage.at(position, "there are data behind the mark of the end")


# --- FLV (Adobe Flash Video File Format Specification 10.1) ---

_FLV_SOUND, _FLV_VIDEO = 8, 9


def _check_flv(file: FileBytes) -> None:
    has_sound, position = file.read(4, 1)[0] & 4, int.from_bytes(file.read(5, 4), "big")
    before, trusted = 0, True
    kinds = Counter[int]()
    while True:
        stated = int.from_bytes(file.read(position, 4), "big")
        # Some recorders write sizes of tags that mean something else, from the first tag on.
        trusted = trusted and (stated == before or position > file.size // 100)
        if trusted and stated != before:
            raise Damage.at(position, "the size of a tag does not match")
        position += 4
        if position == file.size:
            break
        kind, *size, stream = struct.unpack(">4B4x3s", file.read(position, 11))
        if kind & 0x1F not in (_FLV_SOUND, _FLV_VIDEO, 18) or stream != bytes(3):
            raise Damage.at(position, "no tag of an FLV file begins here")
        # Sound that is announced before any picture may be all there is of it.
        kinds[kind & 0x1F] += kind & 0x1F == _FLV_VIDEO or _FLV_VIDEO in kinds
        before = 11 + int.from_bytes(bytes(size), "big")
        position += before
    # Recorders may forget the mark of sound in the header, but then there is as much sound as video.
    if not has_sound and 0 < kinds[_FLV_SOUND] < kinds[_FLV_VIDEO] / 20:
        raise Damage("a tag says that it is sound, and the file has none; it held a picture")


# --- Transport streams (ISO/IEC 13818-1) and raw streams ---


def _check_transport(file: FileBytes) -> None:
    size, first = next(
        (
            (size, first)
            for size, first in ((188, 0), (192, 4), (204, 0))
            if file.read(first, 1 + size)[::size] == b"GG"
        ),
        (188, 0),
    )
    if file.read(first, 1) != b"G":
        raise Damage.at(0, "no packet of a transport stream begins here")
    for start in range(0, file.size, size * 5000):
        data = file.read(start, min(size * 5000, file.size - start))
        lost = data[first::size].replace(b"G", b"")
        if lost:
            raise Damage.at(start, "packets of a transport stream do not follow each other")
    if file.size % size:
        raise Damage("the file ends in the middle of a packet; it was cut off")


# Sequences that only occur in front of a start code (ISO/IEC 13818-2, 6.2; ITU-T H.264 and H.265, annex B).
# H.264 and H.265 have no use for the long runs of zeros that MPEG-2 fills its rate up with.
# The end of such a run alone: a pattern that takes in the whole run starts again at each of its zeros.
_NO_CODE = re.compile(rb"\x00\x00\x00[^\x00\x01]")
_LONG_RUN = bytes(32)


def _check_h264(file: FileBytes) -> None:
    _check_raw(file)
    numbers = PictureNumbers()
    for start in range(0, file.size, _CHUNK):
        # Parameter sets and slice headers are far shorter than 300 bytes.
        data = file.read(start, min(_CHUNK + 300, file.size - start))
        if _LONG_RUN in data:
            raise Damage.at(start + data.index(_LONG_RUN), "a run of zeros")
        for unit in h264_units(data, min(_CHUNK, len(data))):
            numbers.read(unit)
    if numbers.has_gap():
        raise Damage(
            "the stream contradicts itself: pictures are lost or repeated, or it was joined; times may be wrong"
        )


# Size and rate in sequence header and extension (ISO/IEC 13818-2, 6.2.2), which every group of pictures may repeat.
_SEQUENCE = re.compile(rb"\x00\x00\x01\xb3(...)(.)|\x00\x00\x01\xb5[\x10-\x1f]....(.)", re.DOTALL)


def _check_sequences(file: FileBytes) -> None:
    rates: set[int] = set()
    sizes: set[bytes] = set()
    extensions: set[bytes] = set()
    for start in range(0, file.size, _CHUNK):
        for size, rate, extension in _SEQUENCE.findall(file.read(start, min(_CHUNK + 10, file.size - start))):
            if size:
                sizes.add(size)
                rates.add(rate[0] & 15)
            else:
                extensions.add(extension)
    if max(len(sizes), len(rates), len(extensions)) > 1:
        raise Damage("the stream contradicts itself: its headers state several sizes or rates; times may be wrong")


def _check_mpeg(file: FileBytes) -> None:
    _check_raw(file)
    _check_sequences(file)


def _check_raw(file: FileBytes) -> None:
    if not re.match(rb"\x00\x00+\x01", file.read(0, min(64, file.size))):
        raise Damage.at(0, "no start code; something before it was cut off")
    for start in range(0, file.size, _CHUNK):
        data = file.read(start, min(_CHUNK + 16, file.size - start))
        if found := _NO_CODE.search(data):
            raise Damage.at(start + len(data[: found.start()].rstrip(b"\x00")), "a run of zeros")


_CHECKS: dict[str, Callable[[FileBytes], Any]] = {
    "matroska,webm": MatroskaWalk,
    "ogg": _check_ogg,
    "mxf": _check_mxf,
    "nut": _check_nut,
    "ivf": _check_ivf,
    "gif": _check_gif,
    "flv": _check_flv,
    "avi": AviWalk,
    "asf": AsfWalk,
    "mpegts": _check_transport,
    "h264": _check_h264,
    "hevc": _check_raw,
    "mpegvideo": _check_mpeg,
    "mpeg": _check_sequences,
    "m4v": _check_raw,
}
