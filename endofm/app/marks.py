"""Marks: labelled moments of recordings, kept in a file and exported as the list that fine-tuning reads."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Lock

from endofm.csv_text import write_table
from endofm.errors import InputError, quoted
from endofm.files import atomic_path, write_text
from endofm.json_text import read_json

LONGEST_LABEL = 100
"""Largest number of characters of a label."""

_FORMAT = {"format": "endofm-marks", "format_version": 1}


@dataclass(frozen=True, order=True)
class Mark:
    """A labelled moment.

    Attributes:
        path: Path of the video; its name where the path is not known.
        start: Start in seconds.
        end: End in seconds.
        label: The label.
        patient: Patient of the recording; empty if unknown.
    """

    path: str
    start: float
    end: float
    label: str
    patient: str = ""


class Marks:
    """Marks of one user or of one machine.

    Every change is written at once, to a file that is replaced as a whole. Several threads may use one object.

    Args:
        file: File of the marks, which need not exist; None to keep them in memory.

    Raises:
        InputError: If the file holds something else.
    """

    def __init__(self, file: str | Path | None = None) -> None:
        self._file, self._lock = None if file is None else Path(file), Lock()
        self._marks: set[Mark] = set()
        if self._file is not None and self._file.exists():
            try:
                content = read_json(self._file)
                if content["format"] != _FORMAT["format"] or content["format_version"] != _FORMAT["format_version"]:
                    raise ValueError("another format, or that of a newer release")
                self._marks = {_checked(Mark(**one)) for one in content["marks"]}
            except (OSError, KeyError, TypeError, ValueError) as error:
                raise InputError(f"{self._file}: this file holds no marks ({error}); move it away") from error

    def __len__(self) -> int:
        return len(self._marks)

    def all(self) -> list[Mark]:
        """Return the marks in order of recording and time."""
        with self._lock:
            return sorted(self._marks)

    def add(self, mark: Mark) -> None:
        """Add a mark; the same moment has one label, so that an earlier one is replaced.

        Raises:
            InputError: If the label is empty or too long, or the times are not valid.
        """
        _checked(mark)
        with self._lock:
            kept = {one for one in self._marks if (one.path, one.start, one.end) != (mark.path, mark.start, mark.end)}
            self._write({*kept, mark})

    def remove(self, mark: Mark) -> None:
        """Remove a mark, if it is there."""
        with self._lock:
            self._write(self._marks - {mark})

    def _write(self, marks: set[Mark]) -> None:
        if self._file is not None:
            content = {**_FORMAT, "marks": [asdict(mark) for mark in sorted(marks)]}
            write_text(self._file, f"{json.dumps(content, indent=1)}\n")
        # After the file, so that what is shown is what is kept.
        self._marks = marks


def export_marks(marks: Iterable[Mark], file: str | Path) -> Path:
    """Write marks as a list ``path,label,start,end[,patient]``, which ``endofm finetune`` reads.

    Args:
        marks: The marks, at least one.
        file: File to write.

    Raises:
        InputError: If there are none.
    """
    rows = sorted(marks)
    if not rows:
        raise InputError("nothing is marked yet; choose a moment and give it a label first")
    patients = any(mark.patient for mark in rows)
    names = ("path", "label", "start", "end", *(["patient"] if patients else []))
    with atomic_path(file) as temporary:
        write_table(temporary, [names, *(tuple(getattr(mark, name) for name in names) for mark in rows)])
    return Path(file)


def _checked(mark: Mark) -> Mark:
    if not isinstance(mark.label, str) or not mark.label.strip() or len(mark.label) > LONGEST_LABEL:
        raise InputError(f"a label has 1 to {LONGEST_LABEL} characters, got {quoted(mark.label)}")
    if not mark.label.isprintable():
        raise InputError(f"a label has no line breaks and control characters, got {quoted(mark.label)}")
    if not 0 <= mark.start < mark.end:
        raise InputError(f"a moment needs 0 <= start < end, got {mark.start} s and {mark.end} s")
    return mark
