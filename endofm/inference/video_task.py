"""A task of a job over many videos, as the process does it that was given it: whole, or in parts."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

from endofm.address import require_answer
from endofm.errors import EndoFMError, JobError, StoreError, reason
from endofm.inference.job_manifest import Entry
from endofm.inference.job_plan import stated_length
from endofm.inference.video_paths import VideoItem
from endofm.output_place import Staged
from endofm.pool import Division
from endofm.resume import file_state

if TYPE_CHECKING:
    from endofm.inference.job import ItemResult, JobFolder, SharedWork


class VideoTask(NamedTuple):
    """A video and the numbers of the folders in which it is not done."""

    item: VideoItem
    folders: tuple[int, ...]


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


@dataclass(frozen=True)
class VideoProcess:
    """Picklable work on the tasks of a job."""

    work: SharedWork
    folders: tuple[JobFolder, ...]

    def __call__(self, task: VideoTask) -> dict[int, Entry]:
        """Process a video as a whole; returns its row by folder."""
        return _process(task, work=self.work, folders=self.folders)


@dataclass(frozen=True)
class DivisibleVideoProcess(VideoProcess):
    """The same for work that can be done in parts.

    What fails in parts is done again as a whole, so that every outcome is that of one process.
    """

    work: DivisibleVideoWork

    def divide(self, task: VideoTask, longest: float) -> Division | None:
        """Return the parts of a video, with its state before they are read."""
        state = file_state(task.item.path, anew=True)
        with suppress(Exception):
            division = self.work.divide(task.item, task.folders, longest)
            return None if division is None else division._replace(common=(state, division.common))
        return None

    def read_part(self, task: VideoTask, part: Any) -> Iterator[Any]:
        """Yield what :meth:`do_part` needs."""
        return self.work.read_part(task.item, part)

    def do_part(self, task: VideoTask, part: Any, read: Iterable[Any] | None = None) -> Any:
        """Return the result of a part; None if it failed."""
        with suppress(Exception):
            return self.work.do_part(task.item, task.folders, part, read)
        return None

    def join(self, task: VideoTask, division: Division, results: Sequence[Any]) -> dict[int, Entry] | None:
        """Write the files of a video and return its row by folder; None if it has changed meanwhile."""
        state, common = division.common
        if file_state(task.item.path, anew=True) != state:
            return None
        return _process(task, work=partial(self.work.join, common=common, results=results), folders=self.folders)


def _process(task: VideoTask, *, work: SharedWork, folders: tuple[JobFolder, ...]) -> dict[int, Entry]:
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
                alone = [_process(VideoTask(item, (index,)), work=work, folders=folders) for index in task.folders]
                return {index: entry for entries in alone for index, entry in entries.items()}
            require_answer(item.path, "videos")
            text = reason(error)
            text = text if isinstance(error, EndoFMError) else f"{item.path}: {text}"
            return {index: failed_entry(item, folders[index], text) for index in task.folders}
        return {index: _publish(item, folders[index], files[index], result, state) for index, result in results.items()}


def _publish(item: VideoItem, folder: JobFolder, files: Staged, result: ItemResult, state: tuple[int, int]) -> Entry:
    """Put the files of a video into its folder, and return its row."""
    try:
        files.publish()
    except StoreError as error:
        return failed_entry(item, folder, str(error))
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


def seconds_of_task(task: VideoTask) -> float:
    """Return the length of a video as its header states it; 0 if it does not."""
    length = stated_length(task.item.path)
    return length[1] if length else 0.0


def failed_entry(item: VideoItem, folder: JobFolder, error: str) -> Entry:
    """Return the row of a video without results."""
    size, modified = file_state(item.path)
    return Entry(
        source=str(item.path),
        output=folder.name_of(item),
        status="failed",
        size_bytes=size,
        modified=modified,
        error=error,
    )
