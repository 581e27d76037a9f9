"""A list of clips as columns of numbers and bytes.

A Python list of 33,000 rows is copied page by page into every loader worker, because counting references writes to the
objects; a few arrays are not. Opening and forking such a table costs what its bytes cost, and nothing per epoch.
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
    """Texts in one block of bytes.

    Args:
        texts: The texts, in order.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        encoded = [text.encode("utf-8", "surrogateescape") for text in texts]
        self._data = np.frombuffer(b"".join(encoded), np.uint8)
        self._ends = np.cumsum([len(text) for text in encoded], dtype=np.int64)

    def __len__(self) -> int:
        return len(self._ends)

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return self._data.nbytes + self._ends.nbytes

    def __getitem__(self, place: int) -> str:  # type: ignore[override]
        """Return the text at a place; negative places count from the end."""
        place = range(len(self))[place]
        start = self._ends[place - 1] if place else 0
        return self._data[start : self._ends[place]].tobytes().decode("utf-8", "surrogateescape")

    def take(self, places: Int64Array) -> StringColumn:
        """Return the texts at some places."""
        return StringColumn(self[int(place)] for place in places)


@dataclass(frozen=True, eq=False, kw_only=True)
class ClipTable:
    """Clips and what is known of them, one entry per clip in every column.

    Attributes:
        path: Files, or folders of frames.
        id: Names of the clips, unique and independent of where the data lie: seeds depend on them.
        label: int64, class as a position in ``classes``; -1 where there is none.
        patient: Patients, empty where not known.
        video: Recordings, empty where not known.
        split: Published subsets, empty where there is none.
        fps: float64, rate of folders of frames in frames per second, 0 if not known.
        time_scale: float64, seconds of the recording in one second of the file: not 1 where frames of another rate
            were written as 30 per second.
        start: float64, seconds in the file at which the clip begins.
        end: float64, seconds in the file at which it ends, infinite for the end of the file.
        num_frames: int64, 0 if not known.
        classes: Names of the classes.
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

    def __len__(self) -> int:
        return len(self.path)

    def take(self, places: npt.ArrayLike) -> ClipTable:
        """Return some clips, in the given order.

        Args:
            places: Positions, or a mask with one truth value per clip.
        """
        chosen = np.asarray(places)
        chosen = np.flatnonzero(chosen) if chosen.dtype == bool else chosen.astype(np.int64)
        columns = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "classes"}
        taken: dict[str, Any] = {
            name: column.take(chosen) if isinstance(column, StringColumn) else column[chosen]
            for name, column in columns.items()
        }
        return ClipTable(**taken, classes=self.classes)

    def group(self, place: int) -> str:
        """Return what may not be torn apart by a split: the patient, else the recording, else the clip itself."""
        patient, video = self.patient[place], self.video[place]
        return f"patient {patient}" if patient else f"video {video}" if video else f"clip {self.id[place]}"


@dataclass(frozen=True, kw_only=True)
class ClipEntry:
    """One clip on its way into a table; see :class:`ClipTable`."""

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


def build_table(entries: Iterable[ClipEntry], classes: Sequence[str] | None = None) -> ClipTable:
    """Return a table of clips.

    Args:
        entries: The clips.
        classes: Names of the classes in order. By default the labels that occur, whole numbers in their order, other
            texts alphabetically. Labels that are not in it, and empty ones, become -1.
    """
    rows = list(entries)
    labels = {row.label for row in rows if row.label}
    if classes is None:
        numbers = labels and all(label.lstrip("-").isdigit() for label in labels)
        # -1 is what lists without labels say.
        classes = sorted(labels - {"-1"}, key=int) if numbers else sorted(labels)
    number = {name: place for place, name in enumerate(classes)}
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
    )
