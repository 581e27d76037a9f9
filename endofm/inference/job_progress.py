"""Rates of a job: videos per hour, hours of video per hour, failures."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from endofm.inference.job_manifest import Entry


class JobProgress:
    """Rates behind a progress bar over the videos of a job.

    Args:
        bar: What :func:`~endofm.progress.progress_bar` has returned.
    """

    def __init__(self, bar: Any) -> None:
        self._bar, self._begin = bar, time.monotonic()
        self._videos = self._failed = 0
        self._seconds = 0.0

    def count(self, entries: Iterable[Entry]) -> None:
        """Count a video by its rows, one for each folder."""
        entries = list(entries)
        self._videos += 1
        self._failed += any(entry.status == "failed" for entry in entries)
        # Tasks that look at frames do not state it.
        self._seconds += max((float(entry.summary.get("seconds") or 0) for entry in entries), default=0.0)
        self._bar.set_postfix_str(self.text(time.monotonic() - self._begin), refresh=False)
        self._bar.update(1)

    def text(self, elapsed: float) -> str:
        """Return the rates after a time in seconds."""
        hours = max(elapsed, 1e-9) / 3600
        parts = [f"{self._videos / hours:,.0f} videos/h"]
        if self._seconds:
            parts.append(f"{self._seconds / 3600 / hours:,.1f} h of video/h")
        if self._failed:
            parts.append(f"{self._failed:,} failed")
        return ", ".join(parts)
