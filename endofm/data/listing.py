"""From manifests, lists and folders to a table of clips."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from endofm.data.clip_files import clips_of
from endofm.data.clip_table import ClipEntry, ClipTable, build_table
from endofm.data.manifest import CLIP_MANIFEST_NAME, iterate_manifest
from endofm.errors import InputError


def read_clips(*sources: str | Path, classes: Sequence[str] | None = None, root: str | Path | None = None) -> ClipTable:
    """Return the clips that one or several sources list.

    Args:
        *sources: Each a prepared folder (one with a manifest), a manifest, a folder of videos or of folders of frames,
            or a list: a text file with ``path,label`` or ``path,label,start,end`` per line (seconds), with or without
            a first line that names these columns.
        classes: Names of the classes in order; see :func:`~endofm.data.clip_table.build_table`.
        root: Folder that the paths of lists are relative to. By default those that exist below the list's own folder
            are taken from there, else below its subfolder ``videos`` or that of the folder above it (as PolypDiag has
            them), else as they are.

    Returns:
        The table; the ids are the paths as they are listed, with the source's folder name in front if there are
        several sources.

    Raises:
        InputError: If a source is missing or cannot be understood, or two clips have one id.
    """
    if not sources:
        raise InputError("give at least one manifest, list or folder of clips")
    entries: list[ClipEntry] = []
    paths = [Path(source) for source in sources]
    for path, prefix in zip(paths, _prefixes(paths), strict=True):
        entries += _entries(path, prefix, None if root is None else Path(root))
    seen: set[str] = set()
    for entry in entries:
        key = f"{entry.id} {entry.start} {entry.end}"
        if key in seen:
            raise InputError(f"the clip {entry.id} is listed twice; each clip may occur once")
        seen.add(key)
    return build_table(entries, classes)


def _prefixes(paths: Sequence[Path]) -> list[str]:
    """Return what tells the clips of several sources apart."""
    if len(paths) == 1:
        return [""]
    names = [(path if path.is_dir() else path.parent).resolve().name for path in paths]
    if len(set(names)) < len(names):
        names = [f"{number}-{name}" for number, name in enumerate(names)]
    return [f"{name}/" for name in names]


def _entries(path: Path, prefix: str, root: Path | None) -> Iterator[ClipEntry]:
    if path.is_dir() and (path / CLIP_MANIFEST_NAME).is_file():
        path = path / CLIP_MANIFEST_NAME
    if path.is_dir():
        rows, _ = clips_of(path)
        if not rows:
            raise InputError(f"{path}: there are no videos and no folders of frames in it")
        return (ClipEntry(path=path / row.path, id=prefix + row.path, video=row.video) for row in rows)
    if not path.is_file():
        raise InputError(f"{path}: there is no such manifest, list or folder")
    if _is_manifest(path):
        return _from_manifest(path, prefix)
    return _from_list(path, prefix, root)


def _is_manifest(path: Path) -> bool:
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        columns = file.readline().strip().split(",")
    return "path" in columns and not set(columns) <= {"path", "label", "start", "end"}


def _from_manifest(path: Path, prefix: str) -> Iterator[ClipEntry]:
    folder = path.parent
    for row in iterate_manifest(path):
        true = row.source_end_seconds - row.source_start_seconds
        length = row.num_frames / row.fps if row.fps else 0.0
        yield ClipEntry(
            path=folder / row.path,
            id=prefix + row.path,
            label=row.label,
            patient=row.patient,
            video=row.video,
            split=row.split,
            fps=row.fps,
            time_scale=true / length if true > 0 and length > 0 else 1.0,
            num_frames=row.num_frames,
        )


def _from_list(path: Path, prefix: str, root: Path | None) -> Iterator[ClipEntry]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: a list of clips is a UTF-8 text file ({error})") from error
    reader = csv.reader(io.StringIO(text, newline=""))
    columns = ["path", "label", "start", "end"]
    for values in reader:
        if reader.line_num == 1 and values and values[0].strip() == "path":
            columns = [value.strip() for value in values]
            continue
        if not any(value.strip() for value in values):
            continue
        where = f"{path}, line {reader.line_num}"
        if len(values) > len(columns) or len(values) not in (1, 2, 4):
            raise InputError(f"{where}: expected `path,label` or `path,label,start,end`, got {','.join(values)!r}")
        line = dict(zip(columns, (value.strip() for value in values), strict=False))
        start, end = _seconds(line.get("start", "") or "0", where), _seconds(line.get("end", "") or "inf", where)
        if not 0 <= start < end:
            raise InputError(f"{where}: a clip needs 0 <= start < end, got {start} and {end}")
        name = line["path"]
        suffix = f"#{start:g}-{end:g}" if "start" in line else ""
        yield ClipEntry(
            path=_resolve(name, path.parent, root),
            id=f"{prefix}{name}{suffix}",
            label=line.get("label", ""),
            video=name,
            start=start,
            end=end,
        )


def _seconds(text: str, where: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise InputError(f"{where}: {text!r} is not a number of seconds") from error


def _resolve(name: str, folder: Path, root: Path | None) -> Path:
    if root is not None:
        return root / name
    places = (folder / name, folder / "videos" / name, folder.parent / "videos" / name)
    return next((place for place in places if place.exists()), Path(name))
