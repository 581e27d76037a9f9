"""Work over many sources on several processes, such that neither a crash nor an interruption takes the rest along."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def usable_processors() -> int:
    """Return how many processors this process may use.

    Linux can confine a process to some of them (containers, job schedulers); where the system keeps no such mask
    (macOS, Windows), all processors count.
    """
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


class WorkerDied(Exception):
    """The process that worked on a task was killed: a crash of the decoder, or memory that ran out."""


def run_tasks(work: Callable[[T], R], tasks: Sequence[T], jobs: int) -> Iterator[tuple[T, R | WorkerDied]]:
    """Yield each task with its result, in the order in which they end.

    A task that takes its process down yields :class:`WorkerDied`; the others still run. Any exception of ``work``
    itself is raised here, after the tasks that are under way have been stopped.

    Args:
        work: Function of a module, called in fresh (spawned) processes.
        tasks: Its arguments.
        jobs: Number of processes; with 1 too the work runs in a process of its own.
    """
    left = dict(enumerate(tasks))
    for place, result in _run(work, left, jobs):
        yield left.pop(place), result
    # A dead worker takes the whole pool with it. One task at a time shows which one it was.
    for place, task in left.items():
        outcome = [result for _, result in _run(work, {place: task}, 1)]
        yield task, outcome[0] if outcome else WorkerDied()


def _run(work: Callable[[T], R], tasks: dict[int, T], jobs: int) -> Iterator[tuple[int, R]]:
    """Yield results until all are there or a worker dies."""
    if not tasks:
        return
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(
        min(jobs, len(tasks)), mp_context=multiprocessing.get_context("spawn"), initializer=_die_with_parent
    )
    try:
        futures = {pool.submit(work, task): place for place, task in tasks.items()}
        for future in as_completed(futures):
            place = futures.pop(future)
            try:
                result = future.result()
            except BrokenProcessPool:
                continue
            yield place, result
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in set(multiprocessing.active_children()) - others:
            process.terminate()
        raise
    pool.shutdown()


def _die_with_parent() -> None:
    """Stop this worker when the main process is killed; otherwise it would write on, beside the run that resumes."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        sentinel = parent.sentinel

        def watch() -> None:
            wait([sentinel])
            os._exit(1)

        threading.Thread(target=watch, daemon=True).start()
