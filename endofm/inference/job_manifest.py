"""The manifest of a job over many videos: a row per video, by which the job is resumed and others find its results."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from endofm.address import Address
from endofm.errors import InputError, StoreError
from endofm.json_text import MAX_BYTES, parse_json
from endofm.output_place import ManifestWriter, OutputPlace, place_of
from endofm.resume import manifest_name, require_same_settings

_FORMAT_VERSION = 1

_SHARE = 0.1
"""Most of the time that may go into writing the manifest; a killed process loses the rows since it was written last."""


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

    def record(self, entry: Entry) -> None:
        """Add or replace a row, and write the manifest unless that would take too much of the time."""
        self.entries[entry.output] = entry
        self._unwritten = True
        if time.monotonic() >= self._next_write:
            self.write()

    def write(self) -> None:
        """Write the manifest."""
        begin = time.monotonic()
        values = {
            "format_version": _FORMAT_VERSION,
            "settings": dict(self._settings),
            "videos": [self.entries[output].to_row() for output in sorted(self.entries)],
            "left_out": [{"path": path, "reason": reason} for path, reason in self._left_out],
        }
        self._write(json.dumps(values, indent=1) + "\n")
        self._unwritten = False
        end = time.monotonic()
        self._next_write = end + (end - begin) / _SHARE

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
        values = parse_json(place.read(manifest_name(place), MAX_BYTES + 1))
        return dict(values["settings"]), [Entry.from_row(row) for row in values["videos"]]
    except StoreError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{place / manifest_name(place)}: this is not the manifest of an endofm command ({error}); choose another "
            "folder"
        ) from error
