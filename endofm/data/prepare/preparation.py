"""Preparation of a data set: from its published folder to clips, manifest, lists and report."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from endofm._version import __version__
from endofm.address import Address, full_name, located, require_answer
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
from endofm.pool import Engine, LocalEngine, WorkerDied, usable_processors
from endofm.progress import progress_bar
from endofm.resume import exclusive
from endofm.video.find import naturally
from endofm.video.object_file import UnreadObjectError

REPORT_NAME = "prepare.json"
PROBLEMS_NAME = "problems.csv"


@dataclass(frozen=True)
class PrepareReport:
    """Outcome of a preparation; stored as ``prepare.json``.

    Attributes:
        set: Name of the set.
        source: Folder or address that it was prepared from.
        sources: Number of sources in it.
        clips: Number of prepared clips, over all runs.
        frames: Number of their frames.
        expected_clips: Published number of clips, None if there is none.
        expected_frames: Published number of frames, None if there is none.
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
    convert: Callable[[Path | Address, SourceItem, Path, ClipFormat], SourceRecord]
    root: Path | Address
    item: SourceItem
    staging: Path
    record: Path
    clip_format: ClipFormat


def plan(recipe: SetRecipe, source: str | Path | Address, limit: int | None = None) -> SourceListing:
    """Return the sources in a data set's folder, without reading any video.

    Args:
        recipe: The set.
        source: Folder that it was unpacked into; of a folder of your own also an address of object storage.
        limit: Maximum number of sources; None for all.

    Raises:
        InputError: If the folder is missing or does not have the published layout.
        StoreError: If the store does not answer.
    """
    place = located(source)
    if isinstance(place, Address) and recipe.find_stored:
        listing = recipe.find_stored(place)
    else:
        listing = recipe.find(Path(place))
    return replace(listing, items=listing.items[:limit])


def prepare(
    recipe: SetRecipe,
    source: str | Path | Address,
    out: str | Path,
    *,
    clip_format: ClipFormat | None = None,
    jobs: int | None = None,
    engine: Engine | None = None,
    limit: int | None = None,
    overwrite: bool = False,
    progress: bool = True,
) -> PrepareReport:
    """Prepare a data set: cut its recordings into clips and write manifest, list, hashes and report.

    An interrupted run resumes where it stopped: finished sources are recognised by the size and modification time of
    the source and the sizes of their clips.

    Args:
        recipe: The set.
        source: Folder that it was unpacked into, or a list of sources next to it; of a folder of your own also an
            address of object storage, whose videos are read where they lie.
        out: Folder for the clips, one per set.
        clip_format: Form of the clips; by default that of the recipe.
        jobs: Number of processes of this machine; by default one per usable processor.
        engine: Runs the work instead of these.
        limit: Maximum number of sources to prepare; None for all.
        overwrite: Remove the clips of an earlier run and start over.
        progress: Show a progress bar.

    Returns:
        The report of the preparation.

    Raises:
        InputError: If the source folder does not have the published layout, or ``out`` is inside it or cannot be
            written.
        JobError: If the output folder is in use, or holds other clips or clips of other settings, or the store does not
            answer any more.
        StoreError: If the store does not answer.
        VideoError: If a clip cannot be encoded, for example because the disk is full.
    """
    source, out = located(source), Path(out)
    clip_format = recipe.clip_format if clip_format is None else clip_format
    if isinstance(source, Path) and out.resolve().is_relative_to(source.resolve()):
        raise InputError(f"{out} is inside the source {source}; choose a folder outside it")
    listing = plan(recipe, source, limit)
    with exclusive(out):
        folder = PreparedFolder(out)
        if overwrite:
            folder.clear()
        folder.open(recipe.name, clip_format, recipe.settings)
        engine = engine or LocalEngine(jobs or usable_processors(), inside=False)
        root = source if isinstance(source, Address) or source.is_dir() else source.parent
        failures = _convert_all(recipe, folder, root, listing.items, clip_format, engine, progress)
        return _publish(recipe, source, out, folder, listing, failures)


def _publish(
    recipe: SetRecipe,
    source: Path | Address,
    out: Path,
    folder: PreparedFolder,
    listing: SourceListing,
    failures: Mapping[str, tuple[str, ...]],
) -> PrepareReport:
    """Give the clips their final names and write manifest, lists, hashes and report."""
    records = folder.publish(listing.items)
    rows = [row for record in records for row in record.clips]
    report = PrepareReport(
        set=recipe.name,
        source=full_name(source),
        sources=len(listing.items),
        clips=len(rows),
        frames=sum(row.num_frames for row in rows),
        expected_clips=recipe.clips,
        expected_frames=recipe.frames,
        problems=(
            *listing.problems,
            *((record.item.source, text) for record in records for text in record.problems),
            *((name, text) for name, texts in failures.items() for text in texts),
        ),
        dropped=(*listing.dropped, *((record.item.source, text) for record in records for text in record.dropped)),
    )
    recipe.write_lists(out, rows)
    _write_report(out, report, rows, records)
    return report


def _convert_all(
    recipe: SetRecipe,
    folder: PreparedFolder,
    root: Path | Address,
    items: Sequence[SourceItem],
    clip_format: ClipFormat,
    engine: Engine,
    progress: bool,
) -> dict[str, tuple[str, ...]]:
    """Convert the sources that are not finished; return the problems of those without any clip."""
    failures: dict[str, tuple[str, ...]] = {}
    with progress_bar(total=len(items), description="Preparing", unit="source", progress=progress) as bar:
        tasks = []
        for item in items:
            if folder.done(root, item, clip_format):
                bar.update(1)
            else:
                staging = folder.prepare_staging(item)
                tasks.append(_Task(recipe.convert, root, item, staging, folder.record_file(item), clip_format))
        for task, result in engine.run(_convert, tasks, folders=[folder.root]):
            if isinstance(result, WorkerDied):
                failures[task.item.source] = ("the process that read it was killed (a crash or lack of memory)",)
            elif result:
                failures[task.item.source] = result
            bar.update(1)
    return failures


def _convert(task: _Task) -> tuple[str, ...]:
    """Convert one source, in a worker; return its problems if it has no clip."""
    try:
        # Taken before reading: a source that changes while it is read will be converted again.
        state = fingerprint(task.root, task.item, task.clip_format)
        record = task.convert(task.root, task.item, task.staging, task.clip_format)
    except UnreadObjectError as error:
        shutil.rmtree(task.staging)
        place = task.root / task.item.source
        require_answer(place, "clips")
        return (str(error).removeprefix(f"{place}: "),)
    if not record.clips:
        shutil.rmtree(task.staging)
        return record.problems
    written = (path for path in task.staging.rglob("*") if path.is_file())
    sizes = {path.relative_to(task.staging).as_posix(): path.stat().st_size for path in written}
    files = tuple((name, sizes[name]) for name in naturally(sizes))
    replace(record, fingerprint=state, files=files).write(task.record)
    return ()


def _write_report(out: Path, report: PrepareReport, rows: list[ClipRow], records: Sequence[SourceRecord]) -> None:
    write_manifest(out / CLIP_MANIFEST_NAME, rows)
    write_hashes(out, rows, ClipHashes.join([hashes for record in records for hashes in record.hashes]))
    write_problems(out / PROBLEMS_NAME, report.problems, report.dropped)
    text = json.dumps({"endofm_version": __version__, **asdict(report)}, indent=2)
    write_text(out / REPORT_NAME, text + "\n")
