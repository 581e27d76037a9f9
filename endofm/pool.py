"""Processors: engines that run the tasks of a job, a pool that survives the crash of a worker, threads of a process."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar, runtime_checkable

from endofm.errors import InputError

T = TypeVar("T")
R = TypeVar("R")


def usable_processors() -> int:
    """Return the number of processors that this process may use.

    Linux can restrict a process to some of them (containers, job schedulers). On systems without such a mask (macOS,
    Windows) it is the number of all processors.
    """
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


@contextmanager
def cpu_threads(count: int) -> Iterator[None]:
    """Use a number of threads of PyTorch in a block; the process has its own number again afterwards."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class WorkerDied(Exception):
    """The process of a task was killed, by a crash of the decoder or for lack of memory."""


class Engine(Protocol):
    """Runs the tasks of a job: in this process, in several of this machine, or on a cluster."""

    def room(self) -> int:
        """Return how many tasks run at a time."""

    def run(
        self,
        work: Callable[[T], R],
        tasks: Sequence[T],
        *,
        folders: Sequence[Path] = (),
        weigh: Callable[[T], float] | None = None,
    ) -> Generator[tuple[T, R | WorkerDied], None, None]:
        """Yield each task with its result, in order of completion, as :func:`run_tasks` does.

        Args:
            work: Picklable function of one task.
            tasks: Its arguments.
            folders: Folders that ``work`` writes to, which every process must see.
            weigh: Picklable function that returns how long a task is, in any unit. An engine may use it to start with
                the longest.
        """


@runtime_checkable
class DivisibleWork(Protocol):
    """Work on tasks that may be done in parts, which an engine can give to several processes."""

    def divide(self, task: Any, longest: float) -> Division | None:
        """Return a task in parts, none longer than a weight; None if it is to be done as a whole."""

    def read_part(self, task: Any, part: Any) -> Iterator[Any]:
        """Yield what :meth:`do_part` needs of a part; a process without a model can do this."""

    def do_part(self, task: Any, part: Any, read: Iterable[Any] | None = None) -> Any:
        """Return the result of a part; None if the task is to be done as a whole after all.

        ``read`` is what :meth:`read_part` has yielded in another process; None to read the part here.
        """

    def join(self, task: Any, division: Division, results: Sequence[Any]) -> Any:
        """Return the result of a task, given those of its parts; None if it is to be done as a whole after all."""


class Division(NamedTuple):
    """A task in parts.

    Attributes:
        parts: The parts.
        common: What joining their results needs.
    """

    parts: tuple[Any, ...]
    common: Any


@dataclass(frozen=True)
class LocalEngine:
    """Processes of this machine, which take the tasks in the order given.

    Attributes:
        jobs: Number of processes.
        inside: Use no process but this one if ``jobs`` is 1. Nothing is pickled then, and Ctrl-C and debuggers act on
            the work itself; a crash of the work ends this process.

    Raises:
        InputError: If ``jobs`` is smaller than 1.
    """

    jobs: int = 1
    inside: bool = True

    def __post_init__(self) -> None:
        if self.jobs < 1:
            raise InputError(f"jobs must be at least 1, got {self.jobs}")

    def room(self) -> int:
        """Return the number of processes."""
        return self.jobs

    def run(
        self,
        work: Callable[[T], R],
        tasks: Sequence[T],
        *,
        folders: Sequence[Path] = (),
        weigh: Callable[[T], float] | None = None,
    ) -> Generator[tuple[T, R | WorkerDied], None, None]:
        """Run the tasks; see :class:`Engine`."""
        if self.jobs == 1 and self.inside:
            return ((task, work(task)) for task in tasks)
        return run_tasks(work, tasks, self.jobs)


_is_worker = False


def become_worker() -> None:
    """Declare this process, which has no parent of this package, a worker of a job."""
    global _is_worker
    _is_worker = True


def is_worker() -> bool:
    """Return whether this process works for another one, which has checked options and given warnings."""
    return _is_worker or multiprocessing.parent_process() is not None


def run_tasks(work: Callable[[T], R], tasks: Sequence[T], jobs: int) -> Generator[tuple[T, R | WorkerDied], None, None]:
    """Yield each task with its result, in order of completion.

    A task whose process dies yields :class:`WorkerDied`; the others still run. Any exception of ``work`` itself is
    raised here, after the running tasks have been stopped.

    Args:
        work: Module-level function, called in spawned processes.
        tasks: Its arguments.
        jobs: Number of processes; 1 also uses a separate process.
    """
    remaining = dict(enumerate(tasks))
    for index, result in _run(work, remaining, jobs):
        yield remaining.pop(index), result
    # A dead worker breaks the whole pool without naming its task. Running the rest one at a time finds it.
    for index, task in remaining.items():
        outcome = [result for _, result in _run(work, {index: task}, 1)]
        yield task, outcome[0] if outcome else WorkerDied()


def _run(work: Callable[[T], R], tasks: dict[int, T], jobs: int) -> Iterator[tuple[int, R]]:
    """Yield results until all tasks are done or a worker dies."""
    if not tasks:
        return
    others = set(multiprocessing.active_children())
    # Spawned, because a forked copy of torch's and FFmpeg's threads may deadlock.
    pool = ProcessPoolExecutor(
        min(jobs, len(tasks)), mp_context=multiprocessing.get_context("spawn"), initializer=_die_with_parent
    )
    try:
        futures = {pool.submit(work, task): index for index, task in tasks.items()}
        for future in as_completed(futures):
            index = futures.pop(future)
            try:
                result = future.result()
            except BrokenProcessPool:
                continue
            yield index, result
    except BaseException:
        # shutdown() lets running tasks finish, which may take hours; their results are written atomically.
        pool.shutdown(wait=False, cancel_futures=True)
        for process in set(multiprocessing.active_children()) - others:
            process.terminate()
        raise
    pool.shutdown()


def _die_with_parent() -> None:
    """Stop this worker when the main process is killed; otherwise it would keep writing while a new run resumes."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        sentinel = parent.sentinel

        def watch() -> None:
            wait([sentinel])
            os._exit(1)

        threading.Thread(target=watch, daemon=True).start()
