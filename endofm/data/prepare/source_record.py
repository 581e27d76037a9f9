"""Record of a converted source, and its file."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from endofm.address import Address
from endofm.data.manifest import ClipRow
from endofm.data.prepare.clip_format import ClipFormat
from endofm.data.prepare.sources import SourceItem, list_images
from endofm.files import write_text
from endofm.json_text import read_json
from endofm.resume import file_state


@dataclass(frozen=True)
class SourceRecord:
    """Outcome of one source; stored next to its clips, so that a later run does not repeat the work.

    Attributes:
        item: The source.
        clips: Its clips. ``path`` is the final path, or the name in the source's staging folder if clips are numbered.
        hashes: Perceptual hashes per clip, as integers.
        problems: Parts that could not be read, one sentence each.
        dropped: Parts that were left out on purpose, one sentence each.
        fingerprint: State of the source when it was prepared; see :func:`fingerprint`.
        files: Every file that was written, relative to the source's staging folder, with its size in bytes.
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
        """Read a record; None if it is missing or damaged."""
        try:
            values: dict[str, Any] = read_json(path)
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
        """Write the record's file. Its existence marks the source as finished, so it is written last."""
        # Neither images nor boxes of a source are needed again: they are found at every run.
        values = asdict(replace(self, item=replace(self.item, files=(), boxes=None)))
        write_text(path, json.dumps(values))


def fingerprint(root: Path | Address, item: SourceItem, clip_format: ClipFormat) -> str:
    """Return a string that changes when the files of a source or the clip format change."""
    files = source_files(root, item) if isinstance(root, Path) else [root / item.source]
    states = [(file.name, *file_state(file)) for file in files]
    # Boxes only where there are any, so that records of other sources stay valid.
    content = (states, clip_format) if item.boxes is None else (states, clip_format, item.boxes)
    return hashlib.sha256(repr(content).encode()).hexdigest()


def source_files(root: Path, item: SourceItem) -> list[Path]:
    """Return the files of a source in a folder."""
    if item.files:
        return [root / name for name in item.files]
    path = root / item.source
    return list_images(path) if path.is_dir() else [path]
