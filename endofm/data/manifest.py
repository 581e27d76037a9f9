"""``manifest.csv``: one line per prepared clip, with its origin, form and checksum."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any, get_type_hints

from endofm.csv_text import write_rows
from endofm.errors import InputError, quoted
from endofm.files import atomic_path
from endofm.list_table import CLIP_COLUMNS, ListRow, read_table

CLIP_MANIFEST_NAME = "manifest.csv"
NAME_ERRORS = "backslashreplace"
"""Error handler for names of sources that are not UTF-8, in tables, which always are."""


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
        virtual_camera: Path of the virtual camera, as JSON, for a clip that was made from a single still; empty for a
            recording. See :class:`endofm.data.stills.virtual_camera.CameraDraw`.
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
    virtual_camera: str = ""


COLUMNS = tuple(field.name for field in fields(ClipRow))
LISTED_COLUMNS = (*CLIP_COLUMNS, *(name for name in COLUMNS if name not in CLIP_COLUMNS))
"""Columns of handwritten lists and of manifests: both are read as either."""
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
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8", errors=NAME_ERRORS) as file:
        write_rows(file, [COLUMNS])
        write_rows(file, (astuple(row) for row in rows))


def iterate_manifest(path: str | Path) -> Iterator[ClipRow]:
    """Yield the lines of a manifest.

    Missing columns take their default, so a handwritten manifest needs a ``path`` column only. A
    :class:`~endofm.list_table.ListWarning` names columns that are not known.

    Raises:
        InputError: If the file is missing, has no ``path`` column, or a value is not of its column's type.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: there is no such manifest; prepare the set with `endofm data prepare`")
    # Times of clips within their files are no part of a prepared set: whoever reads clips takes them from the table.
    for row in read_table(path, LISTED_COLUMNS).rows:
        yield clip_row(row)


def clip_row(row: ListRow) -> ClipRow:
    """Return the line of a list as one of a manifest; columns that it does not have take their default.

    Raises:
        InputError: If a value is not of its column's type.
    """
    values: dict[str, Any] = {}
    for name, text in row.cells.items():
        kind = _TYPES.get(name)
        # An empty cell is the type's zero value: "", 0 or 0.0.
        if kind is str or (kind is not None and not text):
            values[name] = text or kind()
        elif kind is not None:
            try:
                values[name] = kind(text)
            except ValueError:
                values[name] = -1
            if not 0 <= values[name] < float("inf"):
                raise InputError(f"{row.source}: {name} must be a number >= 0, got {quoted(text)}")
    return ClipRow(**values)


def read_manifest(path: str | Path) -> list[ClipRow]:
    """Return all lines of a manifest; see :func:`iterate_manifest`."""
    return list(iterate_manifest(path))
