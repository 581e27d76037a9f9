"""Rates of a job."""

from __future__ import annotations

from typing import Any

from endofm.inference.job_manifest import Entry
from endofm.inference.job_progress import JobProgress
from endofm.progress import progress_bar


def entry(status: Any, **summary: Any) -> Entry:
    return Entry(source="a", output="a", status=status, size_bytes=1, modified=1, summary=summary)


def test_videos_hours_and_failures_are_counted() -> None:
    calls: list[tuple[int, int | None]] = []
    with progress_bar(total=3, description="", unit="", progress=lambda *call: calls.append(call)) as bar:
        rates = JobProgress(bar)
        rates.count([entry("done", frames=3)])
        assert rates.text(1800) == "2 videos/h"
        # Two folders of one video.
        rates.count([entry("done", seconds=7200.0), entry("done", seconds=7200.0)])
        rates.count([entry("failed")])
    assert rates.text(1800) == "6 videos/h, 4.0 h of video/h, 1 failed"
    assert calls == [(1, 3), (2, 3), (3, 3)]
