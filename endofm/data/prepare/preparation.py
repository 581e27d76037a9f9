"""The one way from a data set's folder to clips, manifest and lists."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from endofm._version import __version__
from endofm.data.manifest import CLIP_MANIFEST_NAME, ClipRow, write_manifest
from endofm.data.perceptual_hashes import ClipHashes, write_hashes
from endofm.data.prepare.clip_format import ClipFormat
from endofm.data.prepare.lists import write_problems
from endofm.data.prepare.prepared_folder import PreparedFolder
from endofm.data.prepare.set_recipe import SetRecipe, SourceListing
from endofm.data.prepare.source_record import SourceRecord, fingerprint
from endofm.data.prepare.sources import SourceItem
from endofm.errors import InputError
from endofm.files import write_text
from endofm.pool import WorkerDied, run_tasks, usable_processors
from endofm.progress import progress_bar
from endofm.resume import exclusive
from endofm.video.find import naturally

REPORT_NAME = "prepare.json"
PROBLEMS_NAME = "problems.csv"


@dataclass(frozen=True)
class PrepareReport:
    """Outcome of a preparation; stored as ``prepare.json``.

    Attributes:
        set: Name of the set.
        source: Folder that it was prepared from.
        sources: Sources found there.
        clips: Clips that are now prepared, over all runs.
        frames: Their frames.
        expected_clips: Clips that the original reports, None if it does not.
        expected_frames: Likewise, frames.
        problems: Source and sentence for everything that could not be read.
        dropped: Source and sentence for everything that was left out on purpose.
    """

    set: str
    source: str
    sources: int
    clips: int
    frames: int
    expected_clips: int | None
    expected_frames: int | None
    problems: tuple[tuple[str, str], ...]
    dropped: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class _Task:
    convert: Callable[[Path, SourceItem, Path, ClipFormat], SourceRecord]
    root: Path
    item: SourceItem
    staging: Path
    record: Path
    clip_format: ClipFormat


def plan(recipe: SetRecipe, source: str | Path, limit: int | None = None) -> SourceListing:
    """Return what a data set's folder holds, without reading any video.

    Args:
        recipe: The set.
        source: Folder that it was unpacked into.
        limit: Return only the first this many sources.

    Raises:
        InputError: If the folder is missing or is not laid out as published.
    """
    found = recipe.find(Path(source))
    return replace(found, items=found.items[:limit])


def prepare(
    recipe: SetRecipe,
    source: str | Path,
    out: str | Path,
    *,
    clip_format: ClipFormat | None = None,
    jobs: int | None = None,
    limit: int | None = None,
    overwrite: bool = False,
    progress: bool = True,
) -> PrepareReport:
    """Prepare a data set: cut its recordings into clips and write manifest, list, hashes and report.

    A run that was stopped in any way goes on where it stopped: sources that are done are recognised by the size and
    time of change of the source and the sizes of their clips.

    Args:
        recipe: The set.
        source: Folder that it was unpacked into.
        out: Folder for the clips, one per set.
        clip_format: Form of the clips.
        jobs: Processes that work side by side; by default one per core.
        limit: Prepare only the first this many sources.
        overwrite: Remove what an earlier run made and start afresh.
        progress: Show a progress bar.

    Returns:
        What was prepared and what could not be read.

    Raises:
        InputError: If the source folder is not laid out as published, or the output folder is in use otherwise.
        OSError: If a clip cannot be written.
    """
    source, out = Path(source), Path(out)
    clip_format = ClipFormat() if clip_format is None else clip_format
    if out.resolve().is_relative_to(source.resolve()):
        raise InputError(f"{out}: lies inside the source {source}; choose a folder outside it")
    found = plan(recipe, source, limit)
    with exclusive(out):
        folder = PreparedFolder(out)
        if overwrite:
            folder.clear()
        folder.open(recipe.name, clip_format)
        failures = _convert_all(recipe, folder, source, found.items, clip_format, jobs or usable_processors(), progress)
        return _publish(recipe, source, out, folder, found, failures)


def _publish(
    recipe: SetRecipe,
    source: Path,
    out: Path,
    folder: PreparedFolder,
    found: SourceListing,
    failures: Mapping[str, tuple[str, ...]],
) -> PrepareReport:
    """Give the clips their final names and write manifest, lists, hashes and report."""
    records = folder.publish(found.items)
    rows = [row for record in records for row in record.clips]
    report = PrepareReport(
        set=recipe.name,
        source=str(source.resolve()),
        sources=len(found.items),
        clips=len(rows),
        frames=sum(row.num_frames for row in rows),
        expected_clips=recipe.clips,
        expected_frames=recipe.frames,
        problems=(
            *found.problems,
            *((record.item.source, text) for record in records for text in record.problems),
            *((name, text) for name, texts in failures.items() for text in texts),
        ),
        dropped=(*found.dropped, *((record.item.source, text) for record in records for text in record.dropped)),
    )
    recipe.write_lists(out, rows)
    _write_report(out, report, rows, records)
    return report


def _convert_all(
    recipe: SetRecipe,
    folder: PreparedFolder,
    root: Path,
    items: Sequence[SourceItem],
    clip_format: ClipFormat,
    jobs: int,
    progress: bool,
) -> dict[str, tuple[str, ...]]:
    """Convert what is not done yet; return the problems of sources that gave no clip at all."""
    failures: dict[str, tuple[str, ...]] = {}
    with progress_bar(total=len(items), description="Preparing", unit="source", disable=not progress) as bar:
        tasks = []
        for item in items:
            if folder.done(root, item, clip_format):
                bar.update(1)
            else:
                staging = folder.prepare_staging(item)
                tasks.append(_Task(recipe.convert, root, item, staging, folder.record_file(item), clip_format))
        for task, result in run_tasks(_convert, tasks, jobs):
            if isinstance(result, WorkerDied):
                failures[task.item.source] = ("the process that read it was killed (a crash or lack of memory)",)
            elif result:
                failures[task.item.source] = result
            bar.update(1)
    return failures


def _convert(task: _Task) -> tuple[str, ...]:
    """Convert one source, in a worker; return its problems if it gave no clip."""
    state = fingerprint(task.root, task.item, task.clip_format)
    record = task.convert(task.root, task.item, task.staging, task.clip_format)
    if not record.clips:
        shutil.rmtree(task.staging)
        return record.problems
    made = (path for path in task.staging.rglob("*") if path.is_file())
    sizes = {path.relative_to(task.staging).as_posix(): path.stat().st_size for path in made}
    files = tuple((name, sizes[name]) for name in naturally(sizes))
    replace(record, fingerprint=state, files=files).write(task.record)
    return ()


def _write_report(out: Path, report: PrepareReport, rows: list[ClipRow], records: Sequence[SourceRecord]) -> None:
    write_manifest(out / CLIP_MANIFEST_NAME, rows)
    write_hashes(out, rows, ClipHashes.join([hashes for record in records for hashes in record.hashes]))
    write_problems(out / PROBLEMS_NAME, report.problems, report.dropped)
    text = json.dumps({"endofm_version": __version__, **asdict(report)}, indent=2)
    write_text(out / REPORT_NAME, text + "\n")
