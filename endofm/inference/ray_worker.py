"""A process of a Ray cluster that runs tasks of a job: an actor, which keeps what it has loaded."""

from __future__ import annotations

import logging
import os
import platform
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from endofm._version import __version__
from endofm.errors import EndoFMWarning, InputError, JobError
from endofm.pool import become_worker

Message = tuple[type[EndoFMWarning] | None, str]
"""A warning by its class, or, without one, a line of the log."""


class RayWorker:
    """Runs tasks one after the other; nothing here knows Ray, which makes an actor of the class."""

    def __init__(self) -> None:
        self._messages: list[Message] = []
        self._work: Any = None

    def start(self, work: Callable[..., Any], version: str, folder: Path, marks: Sequence[Path]) -> str:
        """Take the work, after checking that this machine can do it.

        Args:
            work: The work of a job (:data:`endofm.pool.Engine`).
            version: Release of the command that started the job.
            folder: Working directory of that command, to which paths may be relative.
            marks: Files in the output folders, which a machine sees if it shares them.

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
        return node

    def do(self, task: Any) -> tuple[Any, list[Message]]:
        """Return the result of a task, and what there was to say."""
        return self._work(task), self._drain()

    def weigh(self, weigh: Callable[[Any], float], tasks: Sequence[Any]) -> list[float]:
        """Return the lengths of tasks."""
        return [weigh(task) for task in tasks]

    def _drain(self) -> list[Message]:
        count = len(self._messages)
        drained = self._messages[:count]
        del self._messages[:count]
        return drained

    def _keep_warning(self, message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        # Those of other libraries are for their developers.
        if issubclass(category, EndoFMWarning):
            self._messages.append((category, str(message)))


class _Keeper(logging.Handler):
    """Keeps what is logged as a warning, for the process that started the job."""

    def __init__(self, messages: list[Message]) -> None:
        super().__init__(logging.WARNING)
        self._messages = messages

    def emit(self, record: logging.LogRecord) -> None:
        self._messages.append((None, record.getMessage()))
