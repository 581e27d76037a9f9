"""Work done ahead in a thread."""

from __future__ import annotations

import atexit
import queue
import threading
from collections.abc import Generator
from contextlib import closing
from typing import TypeVar

T = TypeVar("T")


_START_SECONDS = 1.0
"""How long a thread may take to come up."""


def read_ahead(items: Generator[T, None, None], depth: int) -> Generator[T, None, None]:
    """Run a generator in a thread of its own, at most ``depth`` items ahead of the consumer.

    An exception of the generator, whatever its kind, is raised here, unchanged. When the consumer stops early
    (``close``, an exception, Ctrl-C), the generator is closed after the step it is at, and the thread has ended when
    control returns; should a second Ctrl-C prevent that, it has ended before the interpreter does.

    Args:
        items: Generator to run; it is used in the thread only.
        depth: Finished items to keep waiting, >= 1.
    """
    done: queue.SimpleQueue[tuple[T | None, BaseException | None, bool]] = queue.SimpleQueue()
    room = threading.Semaphore(depth)
    stop, ended = threading.Event(), threading.Event()

    def work() -> None:
        failure: BaseException | None = None
        try:
            with closing(items):
                for item in items:
                    room.acquire()
                    if stop.is_set():
                        break
                    done.put((item, None, False))
        except BaseException as error:  # Also what is no Exception: it belongs to the consumer.
            failure = error
        done.put((None, failure, True))
        ended.set()

    thread = threading.Thread(target=work, name="endofm-read-ahead", daemon=True)

    def end() -> None:
        stop.set()
        room.release()
        if thread.is_alive():
            thread.join()
        else:
            # Ctrl-C within start() leaves open whether there is a thread that will run yet.
            ended.wait(_START_SECONDS)

    # A thread that is inside PyTorch while the interpreter ends takes the process down with SIGABRT.
    atexit.register(end)
    try:
        thread.start()
        while True:
            item, failure, last = done.get()
            if failure is not None:
                raise failure
            if last:
                return
            room.release()
            yield item  # type: ignore[misc]
    finally:
        end()
        atexit.unregister(end)
