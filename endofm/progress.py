"""The progress bar of the package."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def progress_bar(*, total: float | None, description: str, unit: str, disable: bool = False) -> Any:
    """Return a tqdm progress bar on standard error; use it as a context manager and call ``update``.

    huggingface_hub's subclass of tqdm is used, a dependency already, so that ``HF_HUB_DISABLE_PROGRESS_BARS`` silences
    every bar that a user sees.

    Args:
        total: Amount of work, or None if it is not known beforehand.
        description: Text before the bar.
        unit: Name of one piece of work, e.g. ``"clip"``.
        disable: Show nothing.
    """
    from huggingface_hub.utils.tqdm import tqdm

    # None, not False: tqdm then also stays silent when standard error is not a terminal being watched.
    bar: Callable[..., Any] = tqdm
    return bar(total=total, desc=description, unit=unit, disable=True if disable else None, dynamic_ncols=True)
