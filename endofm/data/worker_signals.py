"""What the worker processes of a loader do with signals: they leave them to the main process, and end when it does.

A terminal sends Ctrl-C to every process, and a cluster may send SIGTERM to every process at the end of a job's time.
The main process may want to finish its step and save, and a worker that died would be an error to it at any moment. But
it also ends its workers by SIGTERM itself, when it exits. A handler is not told who sent a signal, so the main process
raises a flag in shared memory before.
"""

from __future__ import annotations

import os
import signal
from ctypes import c_bool
from functools import lru_cache, partial
from multiprocessing import RawValue
from multiprocessing.util import Finalize
from typing import Any


class LeaveSignals:
    """Prepares a worker; for ``DataLoader(worker_init_fn=...)``. To be made in the main process."""

    def __init__(self) -> None:
        self._exiting = _exit_flag(os.getpid())

    def __call__(self, worker: int) -> None:
        """Set the handlers of the process that this is called in."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, partial(_end_if_alone, self._exiting, os.getppid()))


def _end_if_alone(exiting: Any, parent: int, *_: object) -> None:
    """Handle SIGTERM: end the worker if the main process exits or has gone, and go on working otherwise."""
    if exiting.value or os.getppid() != parent:
        os._exit(0)


@lru_cache(maxsize=1)
def _exit_flag(process: int) -> Any:
    """Return the flag of a process (a forked one has its own), which is raised before its workers are ended."""
    flag = RawValue(c_bool, False)
    # Not atexit, which a process of `multiprocessing` does not run.
    Finalize(None, setattr, (flag, "value", True), exitpriority=0)
    return flag
