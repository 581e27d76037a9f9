"""Elements of a Matroska or WebM file, and their checksums (RFC 8794, RFC 9559)."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from endofm.video.container import Damage, FileBytes

_CHUNK = 1 << 20  # Bytes that are read at once for a checksum.

_SEGMENT, _CLUSTER, _TRACKS, _CUES = 0x18538067, 0x1F43B675, 0x1654AE6B, 0x1C53BB6B
_TOP = {_CLUSTER, _TRACKS, _CUES, 0x114D9B74, 0x1549A966, 0x1941A469, 0x1043A770, 0x1254C367, 0xEC, 0xBF}
_IN_CLUSTER = {0xE7, 0xA3, 0xA0, 0xAB, 0xA7, 0xAF, 0x5854, 0xEC, 0xBF}


def _crc32(file: FileBytes, position: int, end: int) -> int:
    value = 0
    for start in range(position, end, _CHUNK):
        value = zlib.crc32(file.read(start, min(_CHUNK, end - start)), value)
    return value


class MatroskaWalk:
    """Walk through a Matroska or WebM file; :class:`Damage` at the first contradiction."""

    def __init__(self, file: FileBytes) -> None:
        self._file = file
        self._tracks: set[int] = set()
        self._videos: set[int] = set()
        position = 0
        while position < file.size:
            name, start, end = self._element(position, file.size)
            if name == _SEGMENT:
                end = self._segment(start, end)
            elif name not in (0x1A45DFA3, 0xEC):
                raise Damage.at(position, "no element of a Matroska file begins here")
            position = end

    def _element(self, position: int, limit: int) -> tuple[int, int, int]:
        """Return identifier, start of the content and end; ``limit`` if the length is unknown."""
        head = self._file.read(position, min(12, self._file.size - position))
        width = 9 - head[0].bit_length()
        size_width = 9 - head[width].bit_length() if width <= 4 and width < len(head) else 9
        if size_width > 8:
            raise Damage.at(position, "no element of a Matroska file begins here")
        name = int.from_bytes(head[:width], "big")
        size = int.from_bytes(head[width : width + size_width], "big") & ((1 << 7 * size_width) - 1)
        start = position + width + size_width
        if size == (1 << 7 * size_width) - 1:
            return name, start, limit
        if start + size > limit:
            self._file.require(start + size)
            raise Damage.at(position, "an element is longer than the one that contains it")
        return name, start, start + size

    def _children(self, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
        while start < end:
            name, content, after = self._element(start, end)
            yield start, name, content, after
            start = after

    def _segment(self, start: int, end: int) -> int:
        clusters: set[int] = set()
        cues: list[int] = []
        position = start
        while position < end:
            name, content, after = self._element(position, end)
            if name == _SEGMENT or name == 0x1A45DFA3:
                return position  # The next of several segments, after one of unknown length.
            if name not in _TOP:
                raise Damage.at(position, "no element of a Matroska file begins here")
            self._check_sum(content, after)
            if name == _CLUSTER:
                clusters.add(position - start)
                after = self._cluster(content, after)
            elif name == _TRACKS:
                self._read_tracks(content, after)
            elif name == _CUES:
                cues += self._read_cues(content, after)
            position = after
        if not clusters.issuperset(cues):
            raise Damage("the index of the file points to places where no frames are; parts of the file may be missing")
        return end

    def _check_sum(self, start: int, end: int) -> None:
        if end - start >= 6 and self._file.read(start, 2) == b"\xbf\x84":
            stored = int.from_bytes(self._file.read(start + 2, 4), "little")
            if _crc32(self._file, start + 6, end) != stored:
                raise Damage.at(start, "a checksum does not match")

    def _cluster(self, start: int, end: int) -> int:
        for position, name, content, after in self._children(start, end):
            if name in _TOP and name not in _IN_CLUSTER:
                return position  # This cluster has no stated length.
            if name not in _IN_CLUSTER:
                raise Damage.at(position, "no block of a Matroska file begins here")
            block = content
            if name == 0xA0:
                block = next((c for _, n, c, _ in self._children(content, after) if n == 0xA1), 0)
            if name in (0xA0, 0xA3) and self._tracks:
                number, flags = self._file.read(block, 4)[::3]
                if number >= 0x80 and number & 0x7F not in self._tracks:
                    raise Damage.at(position, "a block belongs to no track")
                # Several frames in one block are for sound alone.
                if number & 0x7F in self._videos and flags & 6:
                    raise Damage.at(position, "a block of video says that it holds several frames")
        return end

    def _read_tracks(self, start: int, end: int) -> None:
        for _, name, content, after in self._children(start, end):
            if name == 0xAE:
                entry = {n: self._integer(c, e) for _, n, c, e in self._children(content, after) if n in (0xD7, 0x83)}
                self._tracks.add(entry.get(0xD7, 0))
                if entry.get(0x83) == 1:
                    self._videos.add(entry.get(0xD7, 0))

    def _read_cues(self, start: int, end: int) -> Iterator[int]:
        for _, kind, point, after in self._children(start, end):
            for _, name, content, stop in self._children(point, after) if kind == 0xBB else ():
                if name == 0xB7:
                    yield from (self._integer(c, e) for _, n, c, e in self._children(content, stop) if n == 0xF1)

    def _integer(self, start: int, end: int) -> int:
        return int.from_bytes(self._file.read(start, min(end - start, 8)), "big")
