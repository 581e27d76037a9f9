"""Work done ahead in a thread."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator
from typing import TypeVar

T = TypeVar("T")


def read_ahead(items: Generator[T, None, None], depth: int) -> Generator[T, None, None]:
    """Run a generator in a thread of its own, at most ``depth`` items ahead of the consumer.

    An exception of the generator, whatever its kind, is raised here, unchanged. When the consumer stops early
    (``close``, an exception, Ctrl-C), the generator is closed after the step it is at, and the thread has ended when
    control returns.

    Args:
        items: Generator to run; it is used in the thread only.
        depth: Finished items to keep waiting, >= 1.
    """
    waiting: queue.Queue[tuple[T | None, BaseException | None, bool]] = queue.Queue(depth)
    stop = threading.Event()

    def work() -> None:
        failure: BaseException | None = None
        try:
            for item in items:
                waiting.put((item, None, False))
                if stop.is_set():
                    break
        except BaseException as error:  # Also what is no Exception: it belongs to the consumer.
            failure = error
        finally:
            items.close()
        waiting.put((None, failure, True))

    thread = threading.Thread(target=work, name="endofm-read-ahead", daemon=True)
    thread.start()
    try:
        while True:
            item, failure, last = waiting.get()
            if failure is not None:
                raise failure
            if last:
                return
            yield item  # type: ignore[misc]
    finally:
        stop.set()
        while thread.is_alive():
            # The thread may be waiting for room.
            try:
                waiting.get_nowait()
            except queue.Empty:
                thread.join(0.01)
