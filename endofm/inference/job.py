"""Batch job: one piece of work on many videos; restartable, and one bad file does not stop the rest.

The job knows nothing of the task. Extraction, classification, detection and segmentation each pass a function that
writes the files of one video and returns an :class:`ItemResult`; order, processes, failures, manifest and resumption
are the same for all of them. The work may fill several folders at once, such as one for each of several models; each
folder then is what a job of its own would have written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from endofm.address import Address
from endofm.inference.job_manifest import Entry, JobManifest
from endofm.inference.job_progress import JobProgress
from endofm.inference.video_paths import VideoItem
from endofm.inference.video_task import (
    DivisibleVideoProcess,
    DivisibleVideoWork,
    VideoProcess,
    VideoTask,
    failed_entry,
    seconds_of_task,
)
from endofm.output_place import LocalFolder, OutputPlace, place_of
from endofm.pool import Engine, LocalEngine, WorkerDied
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
        process = VideoProcess(work, tuple(folders))
        if isinstance(work, DivisibleVideoWork):
            process = DivisibleVideoProcess(work, tuple(folders))
        local = [folder.out.path for folder in folders if isinstance(folder.out, LocalFolder)]
        outcomes = engine.run(process, remaining, folders=local, weigh=seconds_of_task)
        bar = progress_bar(total=len(items), description="Videos", unit="video", progress=progress)
        with closing(outcomes), bar:
            bar.update(len(items) - len(remaining))
            rates = JobProgress(bar)
            for task, outcome in outcomes:
                if isinstance(outcome, WorkerDied):
                    error = f"{task.item.path}: its process was killed (a crash or lack of memory)"
                    outcome = {index: failed_entry(task.item, folders[index], error) for index in task.folders}
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

    def refuse(pieces: Iterable[str]) -> None:
        raise AssertionError("a plan writes no manifest")

    manifests = [JobManifest(folder.out, refuse, folder.settings, ()) for folder in folders]
    if not overwrite:
        for manifest in manifests:
            manifest.resume()
    return [task.item for task in _tasks(items, folders, manifests) if task.folders]


def work_for_one(item: VideoItem, targets: Mapping[int, tuple[Path, ...]], *, work: Work) -> dict[int, ItemResult]:
    """Process one video for each folder by itself: a :data:`Work` as a :data:`SharedWork`."""
    return {index: work(item, paths) for index, paths in targets.items()}


def _tasks(
    items: Sequence[VideoItem], folders: Sequence[JobFolder], manifests: Sequence[JobManifest]
) -> list[VideoTask]:
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
    return [VideoTask(item, tuple(needing)) for item, needing in zip(items, missing, strict=True)]


def _is_done(item: VideoItem, entry: Entry | None) -> bool:
    return entry is not None and entry.status == "done" and file_state(item.path) == (entry.size_bytes, entry.modified)
