"""Processes of a Ray cluster that run tasks of a job: actors, which keep what they have loaded."""

from __future__ import annotations

import logging
import os
import platform
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from endofm._version import __version__
from endofm.errors import EndoFMWarning, InputError, JobError, require_extra
from endofm.pool import Division, WorkerDied, become_worker

Message = tuple[type[EndoFMWarning] | None, str]
"""A warning by its class, or, without one, a line of the log."""


_READ_AHEAD = 2
"""Pieces that a reader holds ready."""

MOST_FAILED_STARTS = 5
"""Processes that may die one after the other when they start."""


class RayWorker:
    """Runs tasks one after the other, or, with readers, parts of several at a time."""

    def __init__(self) -> None:
        self._messages: list[Message] = []
        self._work: Any = None
        self._readers: list[Any] = []
        self._ray: Any = None
        self._new_reader: Callable[[], Any] = RayReader
        self._computing = threading.Lock()

    def start(self, work: Callable[..., Any], version: str, folder: Path, marks: Sequence[Path], readers: int) -> str:
        """Take the work, after checking that this machine can do it.

        Args:
            work: The work of a job (:data:`endofm.pool.Engine`).
            version: Release of the command that started the job.
            folder: Working directory of that command, to which paths may be relative.
            marks: Files in the output folders, which a machine sees if it shares them.
            readers: Number of other actors that read and decode for this one.

        Returns:
            Name of the machine.

        Raises:
            JobError: If this machine does not see a folder.
            InputError: If another release is installed here.
        """
        node = platform.node()
        if version != __version__:
            raise InputError(
                f"{node}: endofm {__version__} is installed on this node, and {version} where the command was started; "
                "install the same release on every node"
            )
        for mark in marks:
            if not mark.exists():
                raise JobError(
                    f"{mark.parent}: the node {node} of the cluster does not see this folder of the machine where the "
                    "command was started; write to a file system that all nodes share under the same path"
                )
        # Where it is not shared, nothing that the work needs is in it.
        with suppress(OSError):
            os.chdir(folder)
        become_worker()
        self._work = work
        # Ray would print what a worker writes with the number of its process, once for each worker.
        warnings.showwarning = self._keep_warning
        logging.getLogger("endofm").addHandler(_Keeper(self._messages))
        if readers:
            self._recruit(readers)
        return node

    def _recruit(self, count: int) -> None:
        """Have other actors read and decode for this one, which does as many parts at a time.

        They end with this one. Encoding needs a GPU, decoding a processor: how many of these feed a GPU depends on the
        video and the model. Where both need processors, one actor that does both is right: the frames stay where they
        are, and no processor waits for another.
        """
        ray = self._ray = require_extra("ray", "ray", "Recruiting readers")
        reader = ray.remote(num_cpus=1, max_restarts=0, scheduling_strategy="SPREAD")(RayReader)
        self._new_reader = lambda: reader.remote(ray.put(self._work))
        self._readers = [self._new_reader() for _ in range(count)]

    def do(self, task: Any) -> tuple[Any, list[Message]]:
        """Return the result of a task, and what there was to say."""
        with self._computing:
            return self._work(task), self._drain()

    def divide(self, task: Any, longest: float) -> tuple[Any, list[Message]]:
        """Return the parts of a task."""
        return self._work.divide(task, longest), self._drain()

    def do_part(self, task: Any, part: Any) -> tuple[tuple[bool | WorkerDied, list[Message]], Any]:
        """Return whether a part could be done, or :class:`WorkerDied` if its reader was killed; and its result."""
        if not self._readers:
            result = self._work.do_part(task, part)
            return (result is not None, self._drain()), result
        reader = self._living(self._readers.pop())
        try:
            with self._computing:
                result = self._work.do_part(task, part, self._read(reader, task, part))
            outcome: bool | WorkerDied = result is not None
        except _ReaderDied:
            outcome, result = WorkerDied(), None
        if outcome is not True:
            # It may still wait for somebody to take the rest.
            self._ray.kill(reader)
            reader = self._new_reader()
        self._readers.append(reader)
        return (outcome, self._drain()), result

    def _living(self, reader: Any) -> Any:
        """Return a reader that answers, which the next part is not to blame for if this one does not."""
        for _ in range(MOST_FAILED_STARTS):
            try:
                self._ray.get(reader.answer.remote())
            except self._ray.exceptions.RayActorError:
                # It ended between two parts, or could not start.
                self._ray.kill(reader)
                reader = self._new_reader()
            else:
                break
        return reader

    def _read(self, reader: Any, task: Any, part: Any) -> Iterator[Any]:
        """Yield what a reader has read; others compute while there is nothing."""
        ray = self._ray
        options = {"num_returns": "streaming", "_generator_backpressure_num_objects": _READ_AHEAD}
        pieces = iter(reader.read_part.options(**options).remote(task, part))
        while True:
            self._computing.release()
            try:
                piece = ray.get(next(pieces))
            except StopIteration:
                return
            except ray.exceptions.RayActorError as error:
                raise _ReaderDied from error
            finally:
                self._computing.acquire()
            yield piece

    def join(self, task: Any, division: Division, *results: Any) -> tuple[Any, list[Message]]:
        """Return the result of a task in parts, given their results."""
        with self._computing:
            return self._work.join(task, division, results), self._drain()

    def weigh(self, weigh: Callable[[Any], float], tasks: Sequence[Any]) -> tuple[list[float], list[Message]]:
        """Return the lengths of tasks."""
        return [weigh(task) for task in tasks], self._drain()

    def _drain(self) -> list[Message]:
        count = len(self._messages)
        drained = self._messages[:count]
        del self._messages[:count]
        return drained

    def _keep_warning(self, message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        # Those of other libraries are for their developers.
        if issubclass(category, EndoFMWarning):
            self._messages.append((category, str(message)))


class RayReader:
    """Reads parts of tasks for a :class:`RayWorker` on whatever machine it is."""

    def __init__(self, work: Any = None) -> None:
        become_worker()
        self._work = work

    def answer(self) -> None:
        """Return, as only a living process does."""

    def read_part(self, task: Any, part: Any) -> Iterator[Any]:
        """Yield what the other actor needs of a part."""
        yield from self._work.read_part(task, part)


class _ReaderDied(BaseException):
    """The process that read was killed. Not an error of the work, which would continue without it."""


class _Keeper(logging.Handler):
    """Keeps what is logged as a warning, for the process that started the job."""

    def __init__(self, messages: list[Message]) -> None:
        super().__init__(logging.WARNING)
        self._messages = messages

    def emit(self, record: logging.LogRecord) -> None:
        self._messages.append((None, record.getMessage()))
