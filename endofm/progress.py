"""Progress of long work: a bar for people, a callback for programs, and events for logs."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

from endofm.errors import visible

ProgressCallback: TypeAlias = Callable[[int, int | None], None]
"""Called after every item with how many are finished and how many are expected (None if unknown).

An exception that it raises ends the work and reaches the caller: the way to cancel.
"""

Progress: TypeAlias = bool | ProgressCallback
"""True for a progress bar on a terminal, False for none, or a function to call instead."""


def progress_bar(*, total: float | None, description: str, unit: str, progress: Progress = True) -> Any:
    """Return a tqdm progress bar on standard error; use it as a context manager and call ``update``.

    This is huggingface_hub's subclass of tqdm, so that ``HF_HUB_DISABLE_PROGRESS_BARS`` silences every bar.

    Args:
        total: Amount of work, or None if unknown.
        description: Text before the bar.
        unit: Name of a unit of work, e.g. ``"clip"``; ``"B"`` for bytes, which are shown in kB, MB, ...
        progress: Whether to show it; or a function, which ``update`` then calls instead.
    """
    if callable(progress):
        return _Calls(progress, None if total is None else int(total))
    from huggingface_hub.utils.tqdm import tqdm

    # None, not False: tqdm then shows nothing if standard error is not a terminal.
    bar: Callable[..., Any] = tqdm
    return bar(
        total=total,
        # A name of a file, which could hold what moves the cursor.
        desc=description if description.isprintable() else visible(description),
        unit=unit,
        unit_scale=unit == "B",
        disable=None if progress else True,
        dynamic_ncols=True,
    )


class _Calls:
    """A function in the place of a bar."""

    def __init__(self, callback: ProgressCallback, total: int | None) -> None:
        self._callback, self._total, self._done = callback, total, 0

    def __enter__(self) -> _Calls:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def update(self, count: int) -> None:
        self._done += count
        self._callback(self._done, self._total)

    def set_postfix_str(self, text: str, refresh: bool = True) -> None:
        """Do nothing: a callback gets numbers."""


@contextmanager
def timed_event(logger: logging.Logger, event: str, **facts: object) -> Iterator[dict[str, Any]]:
    """Log at the end of a block what was done, as ``event key=value ...`` with ``outcome`` and ``seconds``.

    The level is INFO, after an exception WARNING. The record has the same as a dictionary in its attribute ``endofm``.

    Args:
        logger: Logger of the module.
        event: One word: what was done.
        **facts: What it was done to, as plain JSON values.

    Yields:
        The facts, to which the block may add.
    """
    values: dict[str, Any] = {"event": event, **facts}
    started, outcome, level = time.perf_counter(), "done", logging.INFO
    try:
        yield values
    except GeneratorExit:
        outcome = "closed"
        raise
    except BaseException as error:
        outcome, level = type(error).__name__, logging.WARNING
        raise
    finally:
        values |= {"outcome": outcome, "seconds": round(time.perf_counter() - started, 4)}
        if logger.isEnabledFor(level):
            words = (f"{key}={_word(value)}" for key, value in values.items() if key != "event")
            logger.log(level, "%s", f"{event} {' '.join(words)}", extra={"endofm": values})


def _word(value: object) -> str:
    """Return a value as a single word of a line: names of files may hold blanks and line breaks."""
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if text and text.isprintable() and not set(text) & set(' "=') else json.dumps(text)


def duration_text(seconds: float) -> str:
    """Return a duration for people, such as ``20.5 h``, ``12 min`` or ``40 s``."""
    if seconds >= 3600:
        return f"{seconds / 3600:,.1f} h"
    return f"{seconds / 60:.0f} min" if seconds >= 60 else f"{seconds:.0f} s"
