"""Batch job: one piece of work on many videos; restartable, and one bad file does not stop the rest.

The job knows nothing of the task. Extraction, classification, detection and segmentation each pass a function that
writes the files of one video and returns an :class:`ItemResult`; order, processes, failures, manifest and resumption
are the same for all of them. The work may fill several folders at once, such as one for each of several models; each
folder then is what a job of its own would have written.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

from endofm.errors import EndoFMError, InputError, JobError, reason
from endofm.files import atomic_path
from endofm.inference.video_paths import VideoItem
from endofm.json_text import read_json
from endofm.pool import WorkerDied, run_tasks
from endofm.progress import Progress, progress_bar
from endofm.resume import MANIFEST_NAME, exclusive, file_state, require_same_settings

_FORMAT_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class ItemResult:
    """Result of the work on one video, as far as the manifest records it.

    Attributes:
        summary: Numbers and strings for the manifest's row, such as ``{"clips": 24, "seconds": 120.0}``. Keys are those
            of the task; the job does not read them.
        problems: Parts of the video that could not be decoded, one sentence each.
    """

    summary: Mapping[str, Any] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


Work = Callable[[VideoItem, tuple[Path, ...]], ItemResult]
"""Processes one video and writes its files to the given paths, one per suffix of the job."""

SharedWork = Callable[[VideoItem, Mapping[int, tuple[Path, ...]]], Mapping[int, ItemResult]]
"""Processes one video for several folders: maps the files to write by the folder's number to the results."""


@dataclass(frozen=True, kw_only=True)
class JobFolder:
    """One output folder of a job.

    Attributes:
        out: The folder; created if missing.
        suffixes: Suffixes of the files that belong to one video, appended to its output name. A video counts as done
            only if all of them exist.
        settings: Everything that the results depend on, as plain JSON values. A folder holds results of one setting.
    """

    out: Path
    suffixes: tuple[str, ...]
    settings: Mapping[str, Any]

    def name_of(self, item: VideoItem) -> str:
        """Return the name of a video's first file, by which the manifest knows it."""
        return item.output + self.suffixes[0]

    def targets(self, item: VideoItem) -> tuple[Path, ...]:
        """Return the paths of a video's files."""
        return tuple(self.out / (item.output + suffix) for suffix in self.suffixes)


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


@dataclass(frozen=True)
class JobReport:
    """Outcome of one run.

    Attributes:
        entries: Every video of this run, in the order given.
        skipped: Number of them that an earlier run had finished.
        left_out: Path and sentence for what was found and is none of the videos.
    """

    entries: tuple[Entry, ...]
    skipped: int
    left_out: tuple[tuple[str, str], ...] = ()

    @property
    def failed(self) -> tuple[Entry, ...]:
        """The videos without results."""
        return tuple(entry for entry in self.entries if entry.status == "failed")


def run_job(
    items: Sequence[VideoItem],
    out: str | Path,
    work: Work,
    *,
    suffixes: Sequence[str],
    settings: Mapping[str, Any],
    jobs: int = 1,
    left_out: Sequence[tuple[str, str]] = (),
    overwrite: bool = False,
    progress: Progress = True,
) -> JobReport:
    """Process videos one after the other, or several at a time, and keep a manifest of the finished ones.

    The manifest is rewritten after every video, and ``work`` writes its files atomically. A run that was interrupted in
    any way is resumed by the same call: only missing, failed and changed videos are processed.

    Check options before calling this: a mistake that is found only inside ``work`` becomes one failure per video.

    Args:
        items: Videos with distinct output names.
        out: Folder for the results; created if missing.
        work: Processes one video; with several jobs it must be picklable, because it then runs in other processes.
        suffixes: Suffixes of the files that belong to one video, appended to its output name. A video counts as done
            only if all of them exist.
        settings: Everything that the results depend on, as plain JSON values. A folder holds results of one setting.
        jobs: Number of processes; 1 works in this process.
        left_out: Path and sentence for what was found and is none of the videos, for the manifest.
        overwrite: Start over, even with other settings.
        progress: Show a progress bar over the videos.

    Raises:
        InputError: If the folder cannot be created or holds a manifest of another kind.
        JobError: If the folder holds results of other settings, another process is writing to it, or the disk is full.
    """
    folder = JobFolder(out=Path(out), suffixes=tuple(suffixes), settings=settings)
    (report,) = run_shared_job(
        items,
        [folder],
        partial(work_for_one, work=work),
        jobs=jobs,
        left_out=left_out,
        overwrite=overwrite,
        progress=progress,
    )
    return report


def run_shared_job(
    items: Sequence[VideoItem],
    folders: Sequence[JobFolder],
    work: SharedWork,
    *,
    jobs: int = 1,
    left_out: Sequence[tuple[str, str]] = (),
    overwrite: bool = False,
    progress: Progress = True,
) -> list[JobReport]:
    """Process videos for several folders at once; each folder ends as :func:`run_job` would leave it.

    A video is processed for the folders in which it is not done. If that fails, it is tried for each of them alone, so
    that what fails for one folder does not stop the others.

    Args:
        items: Videos with distinct output names.
        folders: The folders.
        work: Processes one video; with several jobs it must be picklable.
        jobs: As for :func:`run_job`, like the arguments that follow.
        left_out: As there.
        overwrite: As there.
        progress: As there.

    Returns:
        Outcome for each folder.

    Raises:
        InputError: As there.
        JobError: As there.
    """
    if jobs < 1:
        raise InputError(f"jobs must be at least 1, got {jobs}")
    with ExitStack() as locks:
        for folder in folders:
            locks.enter_context(exclusive(folder.out))
        known = [{} if overwrite else _resume(folder.out, folder.settings) for folder in folders]
        tasks = [_Task(item, _missing(item, folders, known)) for item in items]
        remaining = [task for task in tasks if task.folders]
        skipped = [sum(index not in task.folders for task in tasks) for index in range(len(folders))]
        process = partial(_process, work=work, folders=tuple(folders))
        # With one job nothing is pickled and no process started: Ctrl-C and debuggers act on the work itself.
        outcomes = ((task, process(task)) for task in remaining) if jobs == 1 else run_tasks(process, remaining, jobs)
        with progress_bar(total=len(items), description="Videos", unit="video", progress=progress) as bar:
            bar.update(len(items) - len(remaining))
            for task, outcome in outcomes:
                if isinstance(outcome, WorkerDied):
                    error = f"{task.item.path}: its process was killed (a crash or lack of memory)"
                    outcome = {index: _failure(task.item, folders[index], error) for index in task.folders}
                for index, entry in outcome.items():
                    known[index][entry.output] = entry
                    _write_manifest(folders[index], known[index], left_out)
                bar.update(1)
        for index, folder in enumerate(folders):
            if skipped[index] == len(items):
                _write_manifest(folder, known[index], left_out)
    return [
        JobReport(tuple(entries[folder.name_of(item)] for item in items), skipped[index], tuple(left_out))
        for index, (folder, entries) in enumerate(zip(folders, known, strict=True))
    ]


def read_entries(out: str | Path, *, failed: bool = False) -> list[Entry]:
    """Return the videos that are done in a folder.

    Args:
        out: Folder that :func:`run_job` has filled.
        failed: Return the videos without results, too.

    Raises:
        InputError: If it has no manifest of such a job.
    """
    return [entry for entry in _read_manifest(Path(out))[1] if failed or entry.status == "done"]


class _Task(NamedTuple):
    """A video and the numbers of the folders in which it is not done."""

    item: VideoItem
    folders: tuple[int, ...]


def work_for_one(item: VideoItem, targets: Mapping[int, tuple[Path, ...]], *, work: Work) -> dict[int, ItemResult]:
    """Process one video for each folder by itself: a :data:`Work` as a :data:`SharedWork`."""
    return {index: work(item, paths) for index, paths in targets.items()}


def _process(task: _Task, *, work: SharedWork, folders: tuple[JobFolder, ...]) -> dict[int, Entry]:
    item = task.item
    # The state before the work: a source that changes meanwhile is processed again by the next run.
    size, modified = file_state(item.path)
    try:
        results = work(item, {index: folders[index].targets(item) for index in task.folders})
    except Exception as error:
        # Every further video would fail in the same way, after all the work on it.
        if _disk_is_full(error):
            raise JobError(
                f"{folders[task.folders[0]].out}: the disk is full; finished videos are kept. Make room and rerun the "
                f"command to resume"
            ) from error
        if len(task.folders) > 1:
            alone = [_process(_Task(item, (index,)), work=work, folders=folders) for index in task.folders]
            return {index: entry for entries in alone for index, entry in entries.items()}
        text = reason(error)
        text = text if isinstance(error, EndoFMError) else f"{item.path}: {text}"
        return {index: _failure(item, folders[index], text) for index in task.folders}
    return {
        index: Entry(
            source=str(item.path),
            output=folders[index].name_of(item),
            status="done",
            size_bytes=size,
            modified=modified,
            summary=dict(result.summary),
            problems=result.problems,
        )
        for index, result in results.items()
    }


def _disk_is_full(error: BaseException | None) -> bool:
    """Return whether an error, or one that it was raised from, is that of a full disk or an exhausted quota."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        error = error.__cause__ or error.__context__
    return False


def _failure(item: VideoItem, folder: JobFolder, error: str) -> Entry:
    size, modified = file_state(item.path)
    return Entry(
        source=str(item.path),
        output=folder.name_of(item),
        status="failed",
        size_bytes=size,
        modified=modified,
        error=error,
    )


def _missing(item: VideoItem, folders: Sequence[JobFolder], known: Sequence[Mapping[str, Entry]]) -> tuple[int, ...]:
    """Return the numbers of the folders in which a video is not done."""
    pairs = enumerate(zip(folders, known, strict=True))
    return tuple(index for index, (folder, entries) in pairs if not _is_done(item, folder, entries))


def _is_done(item: VideoItem, folder: JobFolder, entries: Mapping[str, Entry]) -> bool:
    entry = entries.get(folder.name_of(item))
    if entry is None or entry.status != "done" or file_state(item.path) != (entry.size_bytes, entry.modified):
        return False
    return all(path.exists() for path in folder.targets(item))


def _resume(out: Path, settings: Mapping[str, Any]) -> dict[str, Entry]:
    """Return the entries of earlier runs, after checking that their settings are those of this one."""
    if not (out / MANIFEST_NAME).exists():
        return {}
    stored, entries = _read_manifest(out)
    # A run in which everything failed left nothing behind that other settings could contradict.
    if any(entry.status == "done" for entry in entries):
        require_same_settings(out, stored, settings, remedy="pass --overwrite to replace them")
    return {entry.output: entry for entry in entries}


def _read_manifest(out: Path) -> tuple[dict[str, Any], list[Entry]]:
    """Return the settings and the videos of a folder's manifest."""
    path = out / MANIFEST_NAME
    try:
        values = read_json(path)
        return dict(values["settings"]), [Entry.from_row(row) for row in values["videos"]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path}: this is not the manifest of an endofm command ({error}); choose another folder"
        ) from error


def _write_manifest(folder: JobFolder, known: Mapping[str, Entry], left_out: Sequence[tuple[str, str]]) -> None:
    values = {
        "format_version": _FORMAT_VERSION,
        "settings": dict(folder.settings),
        "videos": [known[output].to_row() for output in sorted(known)],
        "left_out": [{"path": path, "reason": reason} for path, reason in left_out],
    }
    with atomic_path(folder.out / MANIFEST_NAME) as temporary:
        temporary.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
