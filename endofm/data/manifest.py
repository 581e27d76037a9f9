"""``manifest.csv``: one line per prepared clip, with its origin, form and checksum."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any, get_type_hints

from endofm.errors import InputError
from endofm.files import atomic_path

CLIP_MANIFEST_NAME = "manifest.csv"


@dataclass(frozen=True, kw_only=True)
class ClipRow:
    """One line of the manifest; the fields are its columns.

    Attributes:
        path: The clip, an mp4 file or a folder of frames, relative to the manifest's folder, with forward slashes.
        label: Class, empty if the set has no labels.
        split: Published subset, empty if there is none.
        patient: Patient, empty if unknown.
        video: Recording that the clip was cut from; splits keep its clips together.
        num_frames: Frames in the clip.
        width: In pixels.
        height: In pixels.
        fps: Frames per second that the file is played at; see ``source_fps`` for the true rate.
        source: The source's path below the folder that it was prepared from.
        source_first_frame: Index of the clip's first frame among the frames of the source, from 0.
        source_last_frame: Index of its last frame, inclusive.
        source_start_seconds: True time of the first frame, in seconds after the first frame of the source.
        source_end_seconds: True time at which the last frame ends.
        source_fps: True rate of the source in frames per second (nominal for images), 0 if unknown.
        skipped_frames: Frames between first and last that could not be read and are missing from the clip.
        size_bytes: Size of the file, or of all files of the folder.
        sha256: Checksum of the file; for a folder the sha256 over the checksums (hexadecimal, one per line) of its
            frames in natural order.
    """

    path: str
    label: str = ""
    split: str = ""
    patient: str = ""
    video: str = ""
    num_frames: int = 0
    width: int = 0
    height: int = 0
    fps: float = 0.0
    source: str = ""
    source_first_frame: int = 0
    source_last_frame: int = 0
    source_start_seconds: float = 0.0
    source_end_seconds: float = 0.0
    source_fps: float = 0.0
    skipped_frames: int = 0
    size_bytes: int = 0
    sha256: str = ""


COLUMNS = tuple(field.name for field in fields(ClipRow))
_TYPES: dict[str, Any] = get_type_hints(ClipRow)


def joint_checksum(checksums: Sequence[str]) -> str:
    """Return the checksum of a folder of frames: sha256 over the files' checksums, one hexadecimal line each.

    Args:
        checksums: sha256 of each file, in natural order of the files.
    """
    return hashlib.sha256("".join(f"{checksum}\n" for checksum in checksums).encode()).hexdigest()


def write_manifest(path: str | Path, rows: Iterable[ClipRow]) -> None:
    """Write a manifest; it appears under its name only when it is complete.

    Args:
        path: File to create or replace.
        rows: Clips, in the order of the lines.
    """
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(astuple(row) for row in rows)


def iterate_manifest(path: str | Path) -> Iterator[ClipRow]:
    """Yield the lines of a manifest.

    Unknown columns are ignored and missing ones take their default, so a handwritten manifest needs a ``path`` column
    only.

    Raises:
        InputError: If the file is missing, has no ``path`` column, or a value is not of its column's type.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such manifest; prepare the set with `endofm data prepare`") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: a manifest is a UTF-8 text file ({error})") from error
    reader = csv.reader(io.StringIO(text, newline=""))
    header = next(reader, [])
    if "path" not in header:
        raise InputError(
            f"{path}: the first line must name the columns, `path` among them; got {','.join(header)[:80]!r}"
        )
    columns = [(index, name, _TYPES[name]) for index, name in enumerate(header) if name in _TYPES]
    for values in reader:
        if not values:
            continue
        if len(values) != len(header):
            raise InputError(f"{path}, line {reader.line_num}: {len(values)} values for {len(header)} columns")
        try:
            # An empty cell is the type's zero value: "", 0 or 0.0.
            yield ClipRow(**{name: kind(values[index] or kind()) for index, name, kind in columns})
        except ValueError as error:
            raise InputError(f"{path}, line {reader.line_num}: {error}") from error


def read_manifest(path: str | Path) -> list[ClipRow]:
    """Return all lines of a manifest; see :func:`iterate_manifest`."""
    return list(iterate_manifest(path))
