"""Reading manifests, lists and folders into a table of clips."""

from __future__ import annotations

import math
import unicodedata
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from endofm.data.clip_files import clips_of
from endofm.data.clip_table import ClipEntry, ClipTable, build_table
from endofm.data.manifest import CLIP_MANIFEST_NAME, LISTED_COLUMNS, clip_row
from endofm.data.same_files import real_paths
from endofm.errors import InputError, quoted
from endofm.list_lines import exists, looks_like_file
from endofm.list_table import CLIP_WIDTHS, ListRow, ListTable, ListWarning, read_table

Missing = Literal["keep", "refuse", "leave out"]
"""Treatment of listed files that do not exist."""

_SPLITS = {
    "train": "train",
    "training": "train",
    "test": "test",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "testing": "test",
}
_SHOWN = 3
_USUAL = 5
"""Clips of other classes from which a class with a single clip is told: its label may be mistyped."""


def read_clips(
    *sources: str | Path,
    classes: Sequence[str] | None = None,
    root: str | Path | None = None,
    missing: Missing = "keep",
) -> ClipTable:
    """Return the clips of one or several sources.

    Args:
        *sources: Prepared folders (with a manifest), manifests, folders of videos or of folders of frames, or lists;
            ``docs/data/lists.md`` states their format.
        classes: Names of the classes in order; see :func:`~endofm.data.clip_table.build_table`.
        root: Folder that the paths of lists are relative to. By default a path is searched below the list's folder,
            then below its subfolder ``videos`` and that of its parent (the structure of PolypDiag), and otherwise used
            unchanged.
        missing: Keep clips whose file does not exist, refuse them, or leave them out with a note in the table.

    Returns:
        The table; the ids are the listed paths, prefixed with the source's folder name if there are several sources.

    Raises:
        InputError: If a source is missing or cannot be parsed, two clips have one id or are one part of one file,
            labels differ in spelling only, or files are missing and refused.
    """
    if not sources:
        raise InputError("give at least one manifest, list or folder of clips")
    entries: list[ClipEntry] = []
    notes: list[str] = []
    paths = [Path(source) for source in sources]
    for path, prefix in zip(paths, _prefixes(paths), strict=True):
        found = list(_entries(path, prefix, None if root is None else Path(root), notes))
        entries += found if missing == "keep" else _existing(found, path, missing, notes)
    _require_distinct(entries)
    if classes is None:
        notes += _check_labels(entries)
    return build_table(entries, classes, notes=notes)


def _prefixes(paths: Sequence[Path]) -> list[str]:
    """Return a prefix for the clips of each source, so that clips of several sources have different ids."""
    if len(paths) == 1:
        return [""]
    # Absolute paths would make the ids, and with them the random numbers, depend on the location of the data.
    names = [(path if path.is_dir() else path.parent).resolve().name for path in paths]
    if len(set(names)) < len(names):
        names = [f"{number}-{name}" for number, name in enumerate(names)]
    return [f"{name}/" for name in names]


def _entries(path: Path, prefix: str, root: Path | None, notes: list[str]) -> Iterator[ClipEntry]:
    if path.is_dir() and (path / CLIP_MANIFEST_NAME).is_file():
        path = path / CLIP_MANIFEST_NAME
    if path.is_dir():
        rows = clips_of(path).rows
        if not rows:
            raise InputError(f"{path}: there are no videos and no folders of frames in it")
        return (ClipEntry(path=path / row.path, id=prefix + row.path, video=row.video) for row in rows)
    if not path.is_file():
        raise InputError(f"{path}: there is no such manifest, list or folder")
    table = read_table(path, LISTED_COLUMNS, widths=CLIP_WIDTHS)
    notes += table.notes
    if path.name == CLIP_MANIFEST_NAME or "sha256" in table.columns:
        return (_entry(row, path.parent / row.cells["path"], prefix, "") for row in table.rows)
    if not table.rows:
        raise InputError(f"{path}: there are no clips in this list")
    files = [_resolve(row.cells["path"], path.parent, root) for row in table.rows]
    _refuse_unread_header(table, files)
    return (
        # A recording that is not named is the file itself.
        _entry(row, file, prefix, row.cells["path"])
        for row, file in zip(table.rows, files, strict=True)
    )


def _entry(line: ListRow, path: Path, prefix: str, video: str) -> ClipEntry:
    """Return the clip of one line of a manifest or list."""
    row, cells = clip_row(line), line.cells
    start, end = _seconds(cells.get("start", "") or "0", line), _seconds(cells.get("end", "") or "inf", line)
    if not 0 <= start < end:
        raise InputError(f"{line.source}: a clip needs 0 <= start < end, got {start} and {end}")
    true_length = row.source_end_seconds - row.source_start_seconds
    length = row.num_frames / row.fps if row.fps else 0.0
    return ClipEntry(
        path=path,
        # Several clips of one video share its path; the span makes their ids unique.
        id=f"{prefix}{row.path}{f'#{start:g}-{end:g}' if 'start' in cells or 'end' in cells else ''}",
        label=row.label,
        patient=row.patient,
        video=row.video or video,
        split=_SPLITS.get(row.split.casefold(), row.split),
        fps=row.fps,
        # Clips are written at 30 frames per second whatever the recording's rate was.
        time_scale=true_length / length if true_length > 0 and length > 0 else 1.0,
        start=start,
        end=end,
        num_frames=row.num_frames,
    )


def _seconds(text: str, line: ListRow) -> float:
    try:
        # Where commas do not separate columns, they are decimal commas. Python also reads 1_0.
        return math.nan if "_" in text else float(text.replace(",", "."))
    except ValueError as error:
        raise InputError(f"{line.source}: {quoted(text)} is not a number of seconds") from error


def _resolve(name: str, folder: Path, root: Path | None) -> Path:
    if root is not None:
        return root / name
    # Lists that were written on Windows have backslashes.
    names = [name, name.replace("\\", "/")] if "\\" in name else [name]
    bases = (folder, folder / "videos", folder.parent / "videos")
    return next((base / one for one in names for base in bases if exists(base / one)), Path(name))


def _refuse_unread_header(table: ListTable, files: Sequence[Path]) -> None:
    """Raise if the first line is not like any other: it names the columns, in words that are not known."""
    if table.headed or len(table.rows) < 2:
        return
    like_file = [looks_like_file(str(file)) or "/" in str(file) or exists(file) for file in files]
    if not like_file[0] and all(like_file[1:]):
        raise InputError(
            f"{table.rows[0].source}: {quoted(table.rows[0].cells['path'])} is not a file; if this line names the "
            "columns, call them path and label"
        )


def _existing(entries: Sequence[ClipEntry], source: Path, missing: Missing, notes: list[str]) -> list[ClipEntry]:
    """Return the clips whose file exists; refuse the others, or note how many were left out."""
    kept = [entry for entry in entries if exists(entry.path)]
    if len(kept) < len(entries):
        gone = [entry.id for entry in entries if not exists(entry.path)]
        shown = f"{quoted(', '.join(gone[:_SHOWN]))[1:-1]}{' ...' if len(gone) > _SHOWN else ''}"
        fact = f"{len(gone)} of {len(entries)} clips of {{}} do not exist"
        if missing == "refuse" or not kept:
            raise InputError(
                f"{fact.format(source)}: {shown}. Correct the list, or leave them out by data.allow_missing=true"
                if kept
                else f"none of the {len(entries)} clips of {source} exists: {shown}"
            )
        # Reports and cards are published: they name a list without the folders of this machine.
        notes.append(f"{fact.format(source.name)} and were left out: {shown}.")
        warnings.warn(notes[-1], ListWarning, stacklevel=3)
    return kept


def _require_distinct(entries: Sequence[ClipEntry]) -> None:
    """Raise if a clip is listed twice, by its id or by what its file is."""
    seen: dict[tuple[str, float, float], str] = {}
    for entry, real in zip(entries, real_paths([entry.path for entry in entries]), strict=True):
        for key in ((f"id {entry.id}", entry.start, entry.end), (real, entry.start, entry.end)):
            if key in seen:
                also = f" (as {seen[key]})" if seen[key] != entry.id else ""
                raise InputError(f"the clip {entry.id} is listed twice{also}; list each clip once")
        seen[f"id {entry.id}", entry.start, entry.end] = seen[real, entry.start, entry.end] = entry.id


def _check_labels(entries: Sequence[ClipEntry]) -> list[str]:
    """Return notes on labels that may be mistyped; raise if two differ in spelling only."""
    counts = Counter(entry.label for entry in entries if entry.label)
    known: dict[str, str] = {}
    for label in counts:
        other = known.setdefault(_spelling(label), label)
        if other != label:
            raise InputError(
                f"the labels {quoted(other)} and {quoted(label)} differ in spelling only and would be two classes; "
                "write one of them in all lines, or name the classes (data.classes)"
            )
    single = [label for label, count in counts.items() if count == 1]
    if not single or max(counts.values()) < _USUAL:
        return []
    notes = [f"One clip only has the label {quoted(label)}; it may be mistyped." for label in single[:_SHOWN]]
    for note in notes:
        warnings.warn(note, ListWarning, stacklevel=3)
    return notes


def _spelling(label: str) -> str:
    """Return what is the same for labels that are written in different ways, as ``1`` and ``1.0`` are."""
    text = " ".join(unicodedata.normalize("NFKC", label).casefold().split())
    try:
        return f"{float(text):g}"
    except ValueError:
        return text
