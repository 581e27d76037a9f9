"""Clip table: a list of clips stored as columns of numbers and bytes.

A Python list of 33,000 rows is copied page by page into every loader worker, because reference counting writes to the
objects; a few arrays are not. Opening and forking such a table costs its size in bytes once, and nothing per epoch.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Int64Array = npt.NDArray[np.int64]
Float64Array = npt.NDArray[np.float64]


class StringColumn(Sequence[str]):
    """Strings stored in one block of bytes.

    Args:
        texts: The strings, in order.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        # File names on Linux are bytes; `surrogateescape` keeps those that are not valid UTF-8.
        encoded = [text.encode("utf-8", "surrogateescape") for text in texts]
        self._data = np.frombuffer(b"".join(encoded), np.uint8)
        self._ends = np.cumsum([len(text) for text in encoded], dtype=np.int64)

    def __len__(self) -> int:
        return len(self._ends)

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return self._data.nbytes + self._ends.nbytes

    def __getitem__(self, index: int) -> str:  # type: ignore[override]
        """Return the string at an index; negative indices count from the end."""
        # Indexing a range checks the bounds and resolves negative indices as a list does.
        index = range(len(self))[index]
        start = self._ends[index - 1] if index else 0
        return self._data[start : self._ends[index]].tobytes().decode("utf-8", "surrogateescape")

    def take(self, indices: Int64Array) -> StringColumn:
        """Return the strings at the given indices."""
        return StringColumn(self[int(index)] for index in indices)


@dataclass(frozen=True, eq=False, kw_only=True)
class ClipTable:
    """Clips and their metadata, one entry per clip in every column.

    Attributes:
        path: Files, or folders of frames.
        id: Names of the clips, unique and independent of the location of the data: random seeds depend on them.
        label: int64, class as an index into ``classes``; -1 for an unlabelled clip.
        patient: Patients, empty if unknown.
        video: Recordings, empty if unknown.
        split: Published subsets, empty if there are none.
        fps: float64, rate of folders of frames in frames per second, 0 if unknown.
        time_scale: float64, seconds of the recording per second of the file: not 1 where frames of another rate were
            written at 30 per second.
        start: float64, seconds in the file at which the clip begins.
        end: float64, seconds in the file at which it ends, infinite for the end of the file.
        num_frames: int64, 0 if unknown.
        classes: Names of the classes.
        notes: What a reader of results should know of the lists, one sentence each.
    """

    path: StringColumn
    id: StringColumn
    label: Int64Array
    patient: StringColumn
    video: StringColumn
    split: StringColumn
    fps: Float64Array
    time_scale: Float64Array
    start: Float64Array
    end: Float64Array
    num_frames: Int64Array
    classes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.path)

    def take(self, indices: npt.ArrayLike) -> ClipTable:
        """Return some clips, in the given order.

        Args:
            indices: Indices, or a boolean mask with one value per clip.
        """
        selected = np.asarray(indices)
        selected = np.flatnonzero(selected) if selected.dtype == bool else selected.astype(np.int64)
        columns = {
            field.name: getattr(self, field.name) for field in fields(self) if field.name not in ("classes", "notes")
        }
        taken: dict[str, Any] = {
            name: column.take(selected) if isinstance(column, StringColumn) else column[selected]
            for name, column in columns.items()
        }
        return ClipTable(**taken, classes=self.classes, notes=self.notes)

    def group(self, index: int) -> str:
        """Return the unit that a split must keep together: the patient, else the recording, else the clip itself."""
        patient, video = self.patient[index], self.video[index]
        return f"patient {patient}" if patient else f"video {video}" if video else f"clip {self.id[index]}"


@dataclass(frozen=True, kw_only=True)
class ClipEntry:
    """One row for :func:`build_table`; the fields are those of :class:`ClipTable`."""

    path: Path
    id: str
    label: str = ""
    patient: str = ""
    video: str = ""
    split: str = ""
    fps: float = 0.0
    time_scale: float = 1.0
    start: float = 0.0
    end: float = float("inf")
    num_frames: int = 0


def build_table(
    entries: Iterable[ClipEntry], classes: Sequence[str] | None = None, *, notes: Sequence[str] = ()
) -> ClipTable:
    """Return a table of clips.

    Args:
        entries: The clips.
        classes: Names of the classes in order. By default the labels that occur: integers in numerical order, other
            labels alphabetically. Unknown and empty labels become -1. Where no label is one of the names and all are
            integers, as in published lists, they are the numbers of the classes, from 0.
        notes: What a reader of results should know of the lists.
    """
    rows = list(entries)
    labels = {row.label for row in rows if row.label}
    integers = all(label.lstrip("-").isdecimal() for label in labels)
    if classes is None:
        # Published lists without labels write -1.
        classes = sorted(labels - {"-1"}, key=int) if labels and integers else sorted(labels)
    number = {name: index for index, name in enumerate(classes)}
    if integers and labels.isdisjoint(number):
        number = {label: int(label) for label in labels if 0 <= int(label) < len(classes)}
    return ClipTable(
        path=StringColumn(str(row.path) for row in rows),
        id=StringColumn(row.id for row in rows),
        label=np.array([number.get(row.label, -1) for row in rows], np.int64),
        patient=StringColumn(row.patient for row in rows),
        video=StringColumn(row.video for row in rows),
        split=StringColumn(row.split for row in rows),
        fps=np.array([row.fps for row in rows], np.float64),
        time_scale=np.array([row.time_scale for row in rows], np.float64),
        start=np.array([row.start for row in rows], np.float64),
        end=np.array([row.end for row in rows], np.float64),
        num_frames=np.array([row.num_frames for row in rows], np.int64),
        classes=tuple(classes),
        notes=tuple(notes),
    )


def join_tables(tables: Sequence[ClipTable]) -> ClipTable:
    """Return the clips of several tables; classes of equal name become one."""
    if len(tables) == 1:
        return tables[0]
    classes = tuple(dict.fromkeys(name for table in tables for name in table.classes))
    columns: dict[str, Any] = {}
    for name in (field.name for field in fields(ClipTable) if field.name not in ("classes", "notes")):
        parts = [getattr(table, name) for table in tables]
        if isinstance(parts[0], StringColumn):
            columns[name] = StringColumn(text for part in parts for text in part)
        else:
            columns[name] = np.concatenate(parts)
    # One more number than classes: -1 for an unlabelled clip stays -1.
    numbers = [np.array([*map(classes.index, table.classes), -1], np.int64) for table in tables]
    columns["label"] = np.concatenate([own[table.label] for own, table in zip(numbers, tables, strict=True)])
    notes = tuple(dict.fromkeys(note for table in tables for note in table.notes))
    return ClipTable(**columns, classes=classes, notes=notes)
