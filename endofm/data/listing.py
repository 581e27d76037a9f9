"""Reading manifests, lists and folders into a table of clips."""

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
    """Return the clips of one or several sources.

    Args:
        *sources: Prepared folders (with a manifest), manifests, folders of videos or of folders of frames, or lists:
            text files with ``path,label`` or ``path,label,start,end`` per line (seconds), with or without a header
            line that names these columns.
        classes: Names of the classes in order; see :func:`~endofm.data.clip_table.build_table`.
        root: Folder that the paths of lists are relative to. By default a path is searched below the list's folder,
            then below its subfolder ``videos`` and that of its parent (the structure of PolypDiag), and otherwise used
            unchanged.

    Returns:
        The table; the ids are the listed paths, prefixed with the source's folder name if there are several sources.

    Raises:
        InputError: If a source is missing or cannot be parsed, or two clips have one id.
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
            raise InputError(f"the clip {entry.id} is listed twice; list each clip once")
        seen.add(key)
    return build_table(entries, classes)


def _prefixes(paths: Sequence[Path]) -> list[str]:
    """Return a prefix for the clips of each source, so that clips of several sources have different ids."""
    if len(paths) == 1:
        return [""]
    # Absolute paths would make the ids, and with them the random numbers, depend on the location of the data.
    names = [(path if path.is_dir() else path.parent).resolve().name for path in paths]
    if len(set(names)) < len(names):
        names = [f"{number}-{name}" for number, name in enumerate(names)]
    return [f"{name}/" for name in names]


def _entries(path: Path, prefix: str, root: Path | None) -> Iterator[ClipEntry]:
    if path.is_dir() and (path / CLIP_MANIFEST_NAME).is_file():
        path = path / CLIP_MANIFEST_NAME
    if path.is_dir():
        rows = clips_of(path).rows
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
        true_length = row.source_end_seconds - row.source_start_seconds
        length = row.num_frames / row.fps if row.fps else 0.0
        yield ClipEntry(
            path=folder / row.path,
            id=prefix + row.path,
            label=row.label,
            patient=row.patient,
            video=row.video,
            split=row.split,
            fps=row.fps,
            # Clips are written at 30 frames per second whatever the recording's rate was.
            time_scale=true_length / length if true_length > 0 and length > 0 else 1.0,
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
        source = f"{path}, line {reader.line_num}"
        if len(values) > len(columns) or len(values) not in (1, 2, 4):
            raise InputError(f"{source}: expected `path,label` or `path,label,start,end`, got {','.join(values)!r}")
        line = dict(zip(columns, (value.strip() for value in values), strict=False))
        start, end = _seconds(line.get("start", "") or "0", source), _seconds(line.get("end", "") or "inf", source)
        if not 0 <= start < end:
            raise InputError(f"{source}: a clip needs 0 <= start < end, got {start} and {end}")
        name = line["path"]
        # Several clips of one video share its path; the span makes their ids unique.
        suffix = f"#{start:g}-{end:g}" if "start" in line else ""
        yield ClipEntry(
            path=_resolve(name, path.parent, root),
            id=f"{prefix}{name}{suffix}",
            label=line.get("label", ""),
            video=name,
            start=start,
            end=end,
        )


def _seconds(text: str, source: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise InputError(f"{source}: {text!r} is not a number of seconds") from error


def _resolve(name: str, folder: Path, root: Path | None) -> Path:
    if root is not None:
        return root / name
    candidates = (folder / name, folder / "videos" / name, folder.parent / "videos" / name)
    return next((path for path in candidates if path.exists()), Path(name))
