"""What became of one source, and the file that says so."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from endofm.data.manifest import ClipRow
from endofm.data.prepare.clip_format import ClipFormat
from endofm.data.prepare.sources import SourceItem, list_images
from endofm.files import write_text
from endofm.resume import file_state


@dataclass(frozen=True)
class SourceRecord:
    """What became of one source; stored beside its clips, so that a later run need not repeat the work.

    Attributes:
        item: The source.
        clips: Its clips. ``path`` is the final one, or the name in the source's own folder if clips are numbered.
        hashes: Perceptual hashes per clip, as integers.
        problems: What could not be read, one sentence each.
        dropped: What was left out on purpose, one sentence each.
        fingerprint: State of the source when it was prepared; see :func:`fingerprint`.
        files: Every file that was made, relative to the source's own folder, with its size in bytes.
    """

    item: SourceItem
    clips: tuple[ClipRow, ...]
    hashes: tuple[tuple[int, ...], ...]
    problems: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    fingerprint: str = ""
    files: tuple[tuple[str, int], ...] = ()

    @classmethod
    def from_file(cls, path: Path) -> SourceRecord | None:
        """Read a record; None if there is none, or none that can be read."""
        try:
            values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            return cls(
                SourceItem(**values["item"]),
                tuple(ClipRow(**row) for row in values["clips"]),
                tuple(tuple(hashes) for hashes in values["hashes"]),
                tuple(values["problems"]),
                tuple(values["dropped"]),
                values["fingerprint"],
                tuple((name, size) for name, size in values["files"]),
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write(self, path: Path) -> None:
        """Write the record's file; it says that the source is done, so it comes last."""
        values = asdict(replace(self, item=replace(self.item, files=())))
        write_text(path, json.dumps(values))


def fingerprint(root: Path, item: SourceItem, clip_format: ClipFormat) -> str:
    """Return a string that changes when the files of a source or the clip format change."""
    states = [(file.name, *file_state(file)) for file in source_files(root, item)]
    return hashlib.sha256(repr((states, clip_format)).encode()).hexdigest()


def source_files(root: Path, item: SourceItem) -> list[Path]:
    """Return the files that a source consists of."""
    if item.files:
        return [root / name for name in item.files]
    path = root / item.source
    return list_images(path) if path.is_dir() else [path]
