"""The manifest of a job over many videos: a row per video, by which the job is resumed and others find its results.

A manifest of many rows takes long to write and is written less often. In a folder, rows that it does not hold yet are
appended to a file beside it, so that a killed process loses none of them; a store has no such file, because nothing can
be appended to an object.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from endofm.address import Address
from endofm.errors import InputError, StoreError
from endofm.json_text import MAX_BYTES, parse_json
from endofm.output_place import ManifestWriter, OutputPlace, place_of
from endofm.resume import manifest_name, require_same_settings

_FORMAT_VERSION = 1

_NEW_ROWS = ".endofm-rows"
"""Name of the file of rows that the manifest does not hold yet, a line of JSON each."""

_SHARE = 0.1
"""Most of the time that may go into writing the manifest."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Outcome of one video: a row of the manifest.

    Attributes:
        source: Path of the video.
        output: Name of the first output file, relative to the output folder.
        status: ``"done"`` or ``"failed"``.
        size_bytes: Size of the source when it was processed; -1 for a folder of frames.
        modified: Time of the source's last change in nanoseconds.
        summary: As the work returned it; empty after a failure. In the file its keys are those of the row itself.
        problems: Parts of the video that could not be decoded, one sentence each.
        error: Reason for a failure, else empty.
    """

    source: str
    output: str
    status: Literal["done", "failed"]
    size_bytes: int
    modified: int
    summary: Mapping[str, Any] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    error: str = ""

    def to_row(self) -> dict[str, Any]:
        """Return the row as plain JSON values."""
        row = asdict(self)
        # The row stands first for its order and last for its values: no task can overwrite a field of the job.
        summary = row.pop("summary")
        return {**row, **summary, **row}

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Entry:
        """Return the entry of a row; keys that are not fields are its summary."""
        names = {f.name for f in fields(cls)} - {"summary"}
        known = {name: value for name, value in row.items() if name in names}
        summary = {name: value for name, value in row.items() if name not in names}
        return cls(**{**known, "problems": tuple(known["problems"])}, summary=summary)


class JobManifest:
    """Manifest of a place that a job fills.

    Args:
        place: The place, which is held.
        write: What holding it has yielded.
        settings: Everything that the results depend on, as plain JSON values.
        left_out: Path and sentence for what was found and is none of the videos.

    Attributes:
        entries: Rows by the names of their first files.
    """

    def __init__(
        self,
        place: OutputPlace,
        write: ManifestWriter,
        settings: Mapping[str, Any],
        left_out: Sequence[tuple[str, str]],
    ) -> None:
        self.entries: dict[str, Entry] = {}
        self._place, self._write, self._settings, self._left_out = place, write, settings, left_out
        self._unwritten, self._next_write = False, 0.0
        self._new_rows, self._resumed = place.appendable(_NEW_ROWS), False

    def resume(self) -> None:
        """Take the entries of earlier runs, after checking that their settings are those of this one.

        Raises:
            InputError: If there is another kind of manifest.
            JobError: If their settings differ.
        """
        if not self._place.existing_file(manifest_name(self._place)):
            return
        stored, entries = _read_manifest(self._place)
        # A run in which everything failed left nothing behind that other settings could contradict.
        if any(entry.status == "done" for entry in entries):
            require_same_settings(str(self._place), stored, self._settings, remedy="pass --overwrite to replace them")
        self.entries = {entry.output: entry for entry in entries}
        self._resumed = True

    def record(self, entry: Entry) -> None:
        """Add or replace a row, and write the manifest unless that would take too much of the time."""
        self.entries[entry.output] = entry
        self._unwritten = True
        if time.monotonic() >= self._next_write:
            self.write()
        elif self._new_rows is not None:
            # On a full disk it fails, and the work that fills the disk says so.
            with suppress(OSError), self._new_rows.open("a", encoding="ascii", newline="\n") as file:
                file.write(json.dumps(entry.to_row()) + "\n")

    def write(self) -> None:
        """Write the manifest."""
        begin = time.monotonic()
        if not self._resumed:
            # Rows of a run whose results are replaced must not outlive its manifest.
            self._drop_new_rows()
        self._write(self._text())
        self._drop_new_rows()
        self._unwritten, self._resumed = False, True
        end = time.monotonic()
        self._next_write = end + (end - begin) / _SHARE

    def _text(self) -> Iterator[str]:
        """Yield the manifest, a line for each video: of very many, the text is several times what is known of them."""
        values = {
            "format_version": _FORMAT_VERSION,
            "settings": dict(self._settings),
            "left_out": [{"path": path, "reason": reason} for path, reason in self._left_out],
        }
        yield json.dumps(values, indent=1).removesuffix("\n}")
        yield ',\n "videos": ['
        for number, output in enumerate(sorted(self.entries)):
            yield ",\n  " if number else "\n  "
            yield json.dumps(self.entries[output].to_row())
        yield "\n ]\n}\n"

    def _drop_new_rows(self) -> None:
        if self._new_rows is not None:
            self._new_rows.unlink(missing_ok=True)

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Write the manifest after a block, also of a job that ends early."""
        try:
            yield
        except StoreError:
            # A store that does not answer is not waited for again.
            raise
        except BaseException:
            if self._unwritten:
                self.write()
            raise
        self.write()


def read_entries(out: str | Path | Address | OutputPlace, *, failed: bool = False) -> list[Entry]:
    """Return the videos that are done in a place.

    Args:
        out: Folder or address that :func:`~endofm.inference.job.run_job` has filled.
        failed: Return the videos without results, too.

    Raises:
        InputError: If it has no manifest of such a job.
        StoreError: If a store does not answer.
    """
    return [entry for entry in _read_manifest(place_of(out))[1] if failed or entry.status == "done"]


def _read_manifest(place: OutputPlace) -> tuple[dict[str, Any], list[Entry]]:
    """Return the settings and the videos of a manifest."""
    try:
        # First, since a job that writes the manifest meanwhile removes them: a row is then in one or the other.
        new_rows = list(_read_new_rows(place))
        values = parse_json(place.read(manifest_name(place), MAX_BYTES + 1))
        rows = {row["output"]: row for row in [*values["videos"], *new_rows]}
        return dict(values["settings"]), [Entry.from_row(row) for row in rows.values()]
    except StoreError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{place / manifest_name(place)}: this is not the manifest of an endofm command ({error}); choose another "
            "folder"
        ) from error


def _read_new_rows(place: OutputPlace) -> Iterator[Any]:
    """Yield rows that the manifest may not hold yet."""
    path = place.appendable(_NEW_ROWS)
    if path is None or not path.is_file():
        return
    try:
        lines = path.read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        return
    for line in lines:
        # The last one may be half a line of a killed process.
        if line.endswith(b"\n"):
            yield parse_json(line)
