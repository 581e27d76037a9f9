"""Signal handling of a loader's worker processes: they leave signals to the main process, and end when it does.

A terminal sends Ctrl-C to every process, and a cluster may send SIGTERM to every process at the end of a job's time.
The main process may then finish its step and save a checkpoint, for which its workers must stay alive. But it also ends
its workers by SIGTERM itself, when it exits. A handler does not know the sender of a signal, so the main process first
raises a flag in shared memory.
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
    """Installs the handlers of a worker; for ``DataLoader(worker_init_fn=...)``. Create it in the main process."""

    def __init__(self) -> None:
        self._exiting = _exit_flag(os.getpid())

    def __call__(self, worker: int) -> None:
        """Set the handlers of the calling process."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, partial(_end_with_parent, self._exiting, os.getppid()))


def _end_with_parent(exiting: Any, parent: int, *_: object) -> None:
    """Handle SIGTERM: end the worker if the main process is exiting or gone, and ignore the signal otherwise."""
    if exiting.value or os.getppid() != parent:
        os._exit(0)


@lru_cache(maxsize=1)
def _exit_flag(process: int) -> Any:
    """Return the flag of a process, which is raised before its workers are ended; a forked process gets a new one."""
    flag = RawValue(c_bool, False)
    # Not atexit, which a process of `multiprocessing` does not run.
    Finalize(None, setattr, (flag, "value", True), exitpriority=0)
    return flag
