"""The index of an MP4 or MOV file: tables that must agree with each other and with the file.

Boxes are named as in ISO/IEC 14496-12 and the QuickTime File Format Specification. libavformat reads an index that
contradicts itself without a word, and drops what does not fit.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from endofm.video.container import Damage, FileBytes

Int64Array = npt.NDArray[np.int64]

# The index of a recording of a day at 60 frames per second has 60 MiB.
_MAX_INDEX_BYTES = 1 << 28

_LENGTHS = "the index of the file states two lengths; it is damaged, and times may be wrong"


def movie_boxes(file: FileBytes, position: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield type, start of the content and end of the boxes between two positions."""
    # QuickTime ends some lists of boxes with 32 zero bits.
    while position + 8 <= end:
        size, kind = struct.unpack(">I4s", file.read(position, 8))
        start = position + 8
        if size == 1:
            size, start = struct.unpack(">Q", file.read(start, 8))[0], start + 8
        size = size or end - position
        if size < start - position or not all(32 <= byte < 127 or byte == 0xA9 for byte in kind):
            raise Damage.at(position, "no part of an MP4 or MOV file begins here")
        if position + size > end:
            file.require(position + size)
            raise Damage.at(position, "a part is longer than the one that contains it")
        yield kind, start, position + size
        position += size


def has_index(file: FileBytes) -> bool:
    """Return whether an MP4 or MOV file has an index, damaged or not."""
    try:
        return any(kind == b"moov" for kind, _, _ in movie_boxes(file, 0, file.size))
    except Damage:
        return False


def check_movie(file: FileBytes) -> None:
    """Raise at the first contradiction in the index, or between the index and the rest of the file.

    Raises:
        Damage: With a sentence about it.
    """
    boxes = list(movie_boxes(file, 0, file.size))
    data = [(start, end) for kind, start, end in boxes if kind == b"mdat"]
    for _, start, end in (box for box in boxes if box[0] == b"moov"):
        parts = list(movie_boxes(file, start, end))
        # In a fragmented file the fragments hold the tables.
        if any(kind == b"mvex" for kind, _, _ in parts):
            return
        header = next(file.read(begin, stop - begin) for kind, begin, stop in parts if kind == b"mvhd")
        scale = struct.unpack_from(">I", header, 20 if header[0] else 12)[0]
        for kind, begin, stop in parts:
            if kind == b"trak":
                _check_track(file, begin, stop, scale, data)


def _check_track(file: FileBytes, start: int, end: int, scale: int, data: list[tuple[int, int]]) -> None:
    if end - start > _MAX_INDEX_BYTES:
        return
    tables: dict[bytes, bytes] = {}

    def collect(begin: int, stop: int) -> None:
        for kind, inner, after in movie_boxes(file, begin, stop):
            if kind in (b"mdia", b"minf", b"stbl", b"edts"):
                collect(inner, after)
            else:
                tables.setdefault(kind, file.read(inner, after - inner))

    collect(start, end)
    if tables[b"hdlr"][8:12] != b"vide":
        return
    sizes, fixed = _table(tables[b"stsz"], ">u4", 1, skip=4), struct.unpack_from(">I", tables[b"stsz"], 4)[0]
    count = struct.unpack_from(">I", tables[b"stsz"], 8)[0]
    sizes = np.full(min(count, file.size), fixed) if fixed else sizes[:, 0]
    times = _table(tables[b"stts"], ">u4", 2)
    delays = _table(tables[b"ctts"], ">i4", 2) if b"ctts" in tables else np.array([[count, 0]])
    if len(sizes) != count or any(
        int(table[:, 0].sum()) != count or (table < 0)[:, 0].any() for table in (times, delays)
    ):
        raise Damage("the tables of the file's index disagree about the number of frames; it is damaged")
    if count:
        _check_places(tables, sizes, data, file)
        steps = np.repeat(times[:, 1], times[:, 0])
        starts = np.cumsum(steps) - steps + np.repeat(delays[:, 1], delays[:, 0])
        _check_clock(tables, steps, starts, scale)


def _check_places(tables: dict[bytes, bytes], sizes: Int64Array, data: list[tuple[int, int]], file: FileBytes) -> None:
    """Check that chunks hold all samples and lie in the data of the file."""
    wide = b"co64" in tables
    chunks = _table(tables[b"co64" if wide else b"stco"], ">u8" if wide else ">u4", 1)[:, 0]
    runs = _table(tables[b"stsc"], ">u4", 3)
    lengths = np.diff(runs[:, 0], append=len(chunks) + 1)
    if not len(runs) or runs[0, 0] != 1 or (lengths <= 0).any() or int((lengths * runs[:, 1]).sum()) != len(sizes):
        raise Damage("the tables of the file's index disagree about the places of frames; it is damaged")
    last = np.cumsum(np.repeat(runs[:, 1], lengths))
    before = np.concatenate([[0], np.cumsum(sizes)])
    ends = chunks + before[last] - before[np.concatenate([[0], last[:-1]])]
    file.require(int(ends.max()))
    inside = np.zeros(len(chunks), bool)
    for begin, stop in data:
        inside |= (chunks >= begin) & (ends <= stop)
    order = np.argsort(chunks, kind="stable")
    if not inside.all() or (chunks[order][1:] < ends[order][:-1]).any():
        raise Damage("the index of the file points outside its data; it is damaged")


def _check_clock(tables: dict[bytes, bytes], steps: Int64Array, starts: Int64Array, scale: int) -> None:
    """Check that the lengths of track, medium and edits agree.

    Args:
        tables: Contents of the track's boxes.
        steps: Decoding duration of every frame, in ticks of the medium.
        starts: Time at which every frame is shown, in the same ticks.
        scale: Ticks per second of the movie, which the track and its edits count in.
    """
    header = tables[b"mdhd"]
    rate, length = struct.unpack_from(">IQ" if header[0] else ">II", header, 20 if header[0] else 12)
    header = tables[b"tkhd"]
    track = struct.unpack_from(">Q" if header[0] else ">I", header, 28 if header[0] else 20)[0]
    if not (rate and scale):
        raise Damage(_LENGTHS)
    last = int(np.argmax(starts))
    end = int(starts[last] + steps[last])
    # Cameras leave out or double the last frame.
    lengths = np.array([int(steps.sum()), end - int(starts.min()), end])
    lengths = np.concatenate([lengths, lengths - steps[last], lengths + steps[last]])
    slack = 0.1 * float(np.median(steps)) + 0.001 * end

    def agrees(ticks: float, rounding: float = 0.0) -> bool:
        return bool((np.abs(lengths - ticks) <= slack + rounding).any())

    edits = _edits(tables.get(b"elst"))
    shown = [(start, start + duration * rate / scale) for duration, start in edits if start >= 0]
    wrong = bool(length) and not agrees(length)
    if shown:
        wrong = wrong or abs(track - sum(duration for duration, _ in edits)) > 2 + slack * scale / rate
        wrong = wrong or any(stop > lengths.max() + slack + 2 * rate / scale for _, stop in shown)
    elif track:
        wrong = wrong or not agrees(track * rate / scale, 2 * rate / scale)
    if wrong:
        raise Damage(_LENGTHS)
    hidden = int((starts >= round(shown[0][1])).sum()) if len(shown) == 1 and shown[0][1] > shown[0][0] else 0
    if hidden:
        raise Damage(
            f"the edit list of the file leaves out its last frames, {hidden} of {len(starts)}: it was trimmed, or its "
            f"index is damaged"
        )


def _edits(table: bytes | None) -> list[tuple[int, int]]:
    """Return length (in the movie's ticks) and start (in the medium's) of every edit; a start of -1 is a pause."""
    if table is None:
        return []
    form = ">QqI" if table[0] else ">IiI"
    return [(length, start) for length, start, _ in struct.iter_unpack(form, table[8:])]


def _table(content: bytes, form: str, columns: int, skip: int = 0) -> Int64Array:
    """Return the rows of a table behind version, flags, ``skip`` bytes and the number of rows."""
    count = struct.unpack_from(">I", content, 4 + skip)[0]
    available = (len(content) - 8 - skip) // (np.dtype(form).itemsize * columns)
    if count > available:
        return np.zeros((0, columns), np.int64)
    return np.frombuffer(content, form, count * columns, 8 + skip).reshape(count, columns).astype(np.int64)
