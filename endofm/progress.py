"""Progress bar."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from endofm.errors import visible


def progress_bar(*, total: float | None, description: str, unit: str, disable: bool = False) -> Any:
    """Return a tqdm progress bar on standard error; use it as a context manager and call ``update``.

    This is huggingface_hub's subclass of tqdm, so that ``HF_HUB_DISABLE_PROGRESS_BARS`` silences every bar.

    Args:
        total: Amount of work, or None if unknown.
        description: Text before the bar.
        unit: Name of a unit of work, e.g. ``"clip"``; ``"B"`` for bytes, which are shown in kB, MB, ...
        disable: Show no bar.
    """
    from huggingface_hub.utils.tqdm import tqdm

    # None, not False: tqdm then shows nothing if standard error is not a terminal.
    bar: Callable[..., Any] = tqdm
    return bar(
        total=total,
        # A name of a file, which could hold what moves the cursor.
        desc=description if description.isprintable() else visible(description),
        unit=unit,
        unit_scale=unit == "B",
        disable=True if disable else None,
        dynamic_ncols=True,
    )
