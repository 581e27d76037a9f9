"""Chunks of an AVI file, and its index (Microsoft RIFF; OpenDML AVI File Format Extensions)."""

from __future__ import annotations

import re
import struct

from endofm.video.container import Damage, FileBytes


class AviWalk:
    """Walk through an AVI file; :class:`Damage` at the first contradiction."""

    def __init__(self, file: FileBytes) -> None:
        self._file = file
        self._index: list[tuple[bytes, int, int]] = []
        self._chunks: list[tuple[bytes, int, int]] = []
        self._streams: list[tuple[bytes, int, float]] = []
        self._frame_seconds = 0.0
        position = 0
        while position < file.size:
            name, size, form = struct.unpack("<4sI4s", file.read(position, 12))
            if (name, form) not in ((b"RIFF", b"AVI "), (b"RIFF", b"AVIX")):
                raise Damage.at(position, "no part of an AVI file begins here")
            self._list(position + 12, position + 8 + size, position + 8)
            position += 8 + size + size % 2
        self._compare()

    def _list(self, position: int, end: int, start: int) -> None:
        """Read the chunks of one list, whose name is at ``start``."""
        self._file.require(end)
        while position + 8 <= end:
            name, size = struct.unpack("<4sI", self._file.read(position, 8))
            content, after = position + 8, position + 8 + size
            if not re.fullmatch(rb"[ -~]{4}", name) or after > end:
                raise Damage.at(position, "no chunk of an AVI file begins here")
            if name == b"LIST":
                kind = self._file.read(content, 4)
                self._list(content + 4, after, content if kind == b"movi" else start)
            elif re.fullmatch(rb"\d\d[a-z][a-z]", name):
                self._chunks.append((name, position - start, size))
            elif name == b"avih":
                self._frame_seconds = struct.unpack("<I", self._file.read(content, 4))[0] / 1e6
            elif name == b"strh":
                kind, scale, rate, length = struct.unpack("<4s16x2I4xI", self._file.read(content, 36))
                self._streams.append((kind, length, scale / rate if rate else 0.0))
            elif name == b"idx1":
                table = self._file.read(content, size - size % 16)
                self._index = [(entry[0], entry[2], entry[3]) for entry in struct.iter_unpack("<4s3I", table)]
            position = after + size % 2

    def _compare(self) -> None:
        number = next((n for n, (kind, _, _) in enumerate(self._streams) if kind == b"vids"), None)
        if number is None:
            return
        _, announced, seconds = self._streams[number]
        if self._frame_seconds and abs(seconds / self._frame_seconds - 1) > 0.01:
            raise Damage(
                f"the header of the file states two rates, {1 / max(seconds, 1e-9):.6g} and "
                f"{1 / self._frame_seconds:.6g} frames per second; times follow the first and may be wrong"
            )
        found = sum(name[:2] == b"%02d" % number for name, _, _ in self._chunks)
        if found < announced:
            raise Damage(
                f"only {found} of {announced} frames that the header announces are in the file; it has no time stamps, "
                f"so times after a gap are early"
            )
        # Offsets count from the list of chunks or from the file's start. Empty chunks, frames that the recorder
        # dropped, may be left out of the index, and the index covers the first list only.
        listed = [entry for entry in self._index if entry[2] and entry[0] != b"rec "]
        chunks = [chunk for chunk in self._chunks if chunk[2]][: len(listed)]
        base = listed[0][1] - chunks[0][1] if listed and chunks else 0
        if listed != [(name, offset + base, size) for name, offset, size in chunks]:
            raise Damage("the index of the file points to other places than where its frames are; it is damaged")
