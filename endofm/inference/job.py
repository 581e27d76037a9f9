"""Batch job: one piece of work on many videos; restartable, and one bad file does not stop the rest.

The job knows nothing of the task. Extraction, classification, detection and segmentation each pass a function that
writes the files of one video and returns an :class:`ItemResult`; order, processes, failures, manifest and resumption
are the same for all of them. The work may fill several folders at once, such as one for each of several models; each
folder then is what a job of its own would have written.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

from endofm.address import Address
from endofm.errors import EndoFMError, JobError, StoreError, reason
from endofm.inference.job_manifest import Entry, JobManifest
from endofm.inference.job_plan import stated_length
from endofm.inference.job_progress import JobProgress
from endofm.inference.video_paths import VideoItem
from endofm.output_place import LocalFolder, OutputPlace, Staged, place_of
from endofm.pool import Division, Engine, LocalEngine, WorkerDied
from endofm.progress import Progress, progress_bar
from endofm.resume import file_state

_IN_PROCESS = LocalEngine()


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


@runtime_checkable
class DivisibleVideoWork(Protocol):
    """A :data:`SharedWork` that can be done in parts of a video (:class:`~endofm.pool.DivisibleWork`)."""

    def __call__(self, item: VideoItem, targets: Mapping[int, tuple[Path, ...]]) -> Mapping[int, ItemResult]:
        """Process a video as a whole."""

    def divide(self, item: VideoItem, folders: Sequence[int], seconds: float) -> Division | None:
        """Return the parts of a video for some folders, none longer than a time; None for a whole."""

    def read_part(self, item: VideoItem, part: Any) -> Iterator[Any]:
        """Yield what :meth:`do_part` needs of a part, without a model."""

    def do_part(self, item: VideoItem, folders: Sequence[int], part: Any, read: Iterable[Any] | None = None) -> Any:
        """Return the result of a part; None if the video is to be processed as a whole after all."""

    def join(
        self, item: VideoItem, targets: Mapping[int, tuple[Path, ...]], common: Any, results: Sequence[Any]
    ) -> Mapping[int, ItemResult]:
        """Write the files of a video, given the results of its parts."""


@dataclass(frozen=True, kw_only=True)
class JobFolder:
    """One output folder of a job.

    Attributes:
        out: The folder, or a prefix of a store; created if missing.
        suffixes: Suffixes of the files that belong to one video, appended to its output name. A video counts as done
            only if all of them exist.
        settings: Everything that the results depend on, as plain JSON values. A folder holds results of one setting.
    """

    out: OutputPlace
    suffixes: tuple[str, ...]
    settings: Mapping[str, Any]

    def name_of(self, item: VideoItem) -> str:
        """Return the name of a video's first file, by which the manifest knows it."""
        return self.names(item)[0]

    def names(self, item: VideoItem) -> tuple[str, ...]:
        """Return the names of a video's files."""
        return tuple(item.output + suffix for suffix in self.suffixes)


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
    out: str | Path | Address | OutputPlace,
    work: Work,
    *,
    suffixes: Sequence[str],
    settings: Mapping[str, Any],
    engine: Engine = _IN_PROCESS,
    left_out: Sequence[tuple[str, str]] = (),
    overwrite: bool = False,
    progress: Progress = True,
) -> JobReport:
    """Process videos one after the other, or several at a time, and keep a manifest of the finished ones.

    The manifest is rewritten after every video, less often where that takes long (see
    :mod:`endofm.inference.job_manifest`), and ``work`` writes its files atomically. A run that was interrupted in any
    way is resumed by the same call: only missing, failed and changed videos are processed.

    Check options before calling this: a mistake that is found only inside ``work`` becomes one failure per video.

    Args:
        items: Videos with distinct output names.
        out: Folder for the results, or an address in object storage; created if missing.
        work: Processes one video; it must be picklable if it runs in other processes.
        suffixes: Suffixes of the files that belong to one video, appended to its output name. A video counts as done
            only if all of them exist.
        settings: Everything that the results depend on, as plain JSON values. A folder holds results of one setting.
        engine: Runs the work; by default in this process.
        left_out: Path and sentence for what was found and is none of the videos, for the manifest.
        overwrite: Start over, even with other settings.
        progress: Show a progress bar over the videos.

    Raises:
        InputError: If the folder cannot be created or holds a manifest of another kind.
        JobError: If the folder holds results of other settings, another process is writing to it, the disk is full, or
            the store of a video does not answer.
        StoreError: If an object storage refuses the manifest or does not answer.
    """
    folder = JobFolder(out=place_of(out), suffixes=tuple(suffixes), settings=settings)
    (report,) = run_shared_job(
        items,
        [folder],
        partial(work_for_one, work=work),
        engine=engine,
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
    engine: Engine = _IN_PROCESS,
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
        work: Processes one video; it must be picklable if it runs in other processes.
        engine: As for :func:`run_job`, like the arguments that follow.
        left_out: As there.
        overwrite: As there.
        progress: As there.

    Returns:
        Outcome for each folder.

    Raises:
        InputError: As there.
        JobError: As there.
    """
    with ExitStack() as stack:
        manifests = [
            JobManifest(folder.out, stack.enter_context(folder.out.exclusive()), folder.settings, left_out)
            for folder in folders
        ]
        for folder, manifest in zip(folders, manifests, strict=True):
            folder.out.drop_unfinished({name for item in items for name in folder.names(item)})
            if not overwrite:
                manifest.resume()
            stack.enter_context(manifest.kept())
        tasks = _tasks(items, folders, manifests)
        remaining = [task for task in tasks if task.folders]
        skipped = [sum(index not in task.folders for task in tasks) for index in range(len(folders))]
        process = _Process(work, tuple(folders))
        if isinstance(work, DivisibleVideoWork):
            process = _DivisibleProcess(work, tuple(folders))
        local = [folder.out.path for folder in folders if isinstance(folder.out, LocalFolder)]
        outcomes = engine.run(process, remaining, folders=local, weigh=_seconds_of)
        bar = progress_bar(total=len(items), description="Videos", unit="video", progress=progress)
        with closing(outcomes), bar:
            bar.update(len(items) - len(remaining))
            rates = JobProgress(bar)
            for task, outcome in outcomes:
                if isinstance(outcome, WorkerDied):
                    error = f"{task.item.path}: its process was killed (a crash or lack of memory)"
                    outcome = {index: _failure(task.item, folders[index], error) for index in task.folders}
                for index, entry in outcome.items():
                    manifests[index].record(entry)
                rates.count(outcome.values())
    return [
        JobReport(tuple(manifest.entries[folder.name_of(item)] for item in items), skipped[index], tuple(left_out))
        for index, (folder, manifest) in enumerate(zip(folders, manifests, strict=True))
    ]


def remaining_videos(items: Sequence[VideoItem], folders: Sequence[JobFolder], *, overwrite: bool) -> list[VideoItem]:
    """Return the videos that :func:`run_shared_job` would process; nothing is written and no folder created.

    Raises:
        InputError: As there.
        JobError: If a folder holds results of other settings.
    """

    def refuse(text: str) -> None:
        raise AssertionError("a plan writes no manifest")

    manifests = [JobManifest(folder.out, refuse, folder.settings, ()) for folder in folders]
    if not overwrite:
        for manifest in manifests:
            manifest.resume()
    return [task.item for task in _tasks(items, folders, manifests) if task.folders]


class _Task(NamedTuple):
    """A video and the numbers of the folders in which it is not done."""

    item: VideoItem
    folders: tuple[int, ...]


def work_for_one(item: VideoItem, targets: Mapping[int, tuple[Path, ...]], *, work: Work) -> dict[int, ItemResult]:
    """Process one video for each folder by itself: a :data:`Work` as a :data:`SharedWork`."""
    return {index: work(item, paths) for index, paths in targets.items()}


@dataclass(frozen=True)
class _Process:
    """Picklable work on the tasks of a job."""

    work: SharedWork
    folders: tuple[JobFolder, ...]

    def __call__(self, task: _Task) -> dict[int, Entry]:
        return _process(task, work=self.work, folders=self.folders)


@dataclass(frozen=True)
class _DivisibleProcess(_Process):
    """The same for work that can be done in parts.

    What fails in parts is done again as a whole, so that every outcome is that of one process.
    """

    work: DivisibleVideoWork

    def divide(self, task: _Task, longest: float) -> Division | None:
        state = file_state(task.item.path)
        with suppress(Exception):
            division = self.work.divide(task.item, task.folders, longest)
            return None if division is None else division._replace(common=(state, division.common))
        return None

    def read_part(self, task: _Task, part: Any) -> Iterator[Any]:
        return self.work.read_part(task.item, part)

    def do_part(self, task: _Task, part: Any, read: Iterable[Any] | None = None) -> Any:
        with suppress(Exception):
            return self.work.do_part(task.item, task.folders, part, read)
        return None

    def join(self, task: _Task, division: Division, results: Sequence[Any]) -> dict[int, Entry] | None:
        state, common = division.common
        if file_state(task.item.path) != state:
            return None
        return _process(task, work=partial(self.work.join, common=common, results=results), folders=self.folders)


def _process(task: _Task, *, work: SharedWork, folders: tuple[JobFolder, ...]) -> dict[int, Entry]:
    item = task.item
    # The state before the work: a source that changes meanwhile is processed again by the next run.
    state = file_state(item.path)
    with ExitStack() as stack:
        try:
            files = {
                index: stack.enter_context(folders[index].out.staged(folders[index].names(item)))
                for index in task.folders
            }
            results = work(item, {index: staged.paths for index, staged in files.items()})
        except Exception as error:
            # Every further video would fail in the same way, after all the work on it.
            if _disk_is_full(error):
                raise JobError(
                    f"{folders[task.folders[0]].out.disk()}: the disk is full; finished videos are kept. Make room and "
                    "rerun the command to resume"
                ) from error
            if len(task.folders) > 1:
                alone = [_process(_Task(item, (index,)), work=work, folders=folders) for index in task.folders]
                return {index: entry for entries in alone for index, entry in entries.items()}
            if isinstance(item.path, Address) and not item.path.is_answered():
                raise JobError(
                    f"{item.path}: its store does not answer; finished videos are kept; rerun the command to resume"
                ) from None
            text = reason(error)
            text = text if isinstance(error, EndoFMError) else f"{item.path}: {text}"
            return {index: _failure(item, folders[index], text) for index in task.folders}
        return {index: _publish(item, folders[index], files[index], result, state) for index, result in results.items()}


def _publish(item: VideoItem, folder: JobFolder, files: Staged, result: ItemResult, state: tuple[int, int]) -> Entry:
    """Put the files of a video into its folder, and return its row."""
    try:
        files.publish()
    except StoreError as error:
        return _failure(item, folder, str(error))
    return Entry(
        source=str(item.path),
        output=folder.name_of(item),
        status="done",
        size_bytes=state[0],
        modified=state[1],
        summary=dict(result.summary),
        problems=result.problems,
    )


def _disk_is_full(error: BaseException | None) -> bool:
    """Return whether an error, or one that it was raised from, is that of a full disk or an exhausted quota."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        error = error.__cause__ or error.__context__
    return False


def _seconds_of(task: _Task) -> float:
    length = stated_length(task.item.path)
    return length[1] if length else 0.0


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


def _tasks(items: Sequence[VideoItem], folders: Sequence[JobFolder], manifests: Sequence[JobManifest]) -> list[_Task]:
    """Return for each video the folders in which it is not done."""
    missing: list[list[int]] = [[] for _ in items]
    for index, (folder, manifest) in enumerate(zip(folders, manifests, strict=True)):
        # A place that is new, or is filled anew, is not asked for files.
        there = (
            folder.out.existing(name for item in items for name in folder.names(item)) if manifest.entries else set()
        )
        for item, needing in zip(items, missing, strict=True):
            if not _is_done(item, manifest.entries.get(folder.name_of(item))) or not there.issuperset(
                folder.names(item)
            ):
                needing.append(index)
    return [_Task(item, tuple(needing)) for item, needing in zip(items, missing, strict=True)]


def _is_done(item: VideoItem, entry: Entry | None) -> bool:
    return entry is not None and entry.status == "done" and file_state(item.path) == (entry.size_bytes, entry.modified)
