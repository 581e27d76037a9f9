"""What a job will take."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from endofm.errors import VideoError
from endofm.inference.job_plan import Sample, measure, parts_of, plan_job, spread, stated_length
from endofm.inference.video_paths import VideoItem
from helpers.video_makers import write_clip


def test_a_sample_leaves_out_the_start_and_ends_early() -> None:
    seen = []

    def results() -> Iterator[float]:
        time.sleep(0.3)
        for end in range(10, 1000, 10):
            seen.append(end)
            yield float(end)
            time.sleep(0.02)

    sample = measure(results(), lambda end: end, lambda end: 50.0)  # type: ignore[arg-type]
    assert 0.002 <= sample.seconds < 0.02
    assert sample.size_bytes == pytest.approx(5.0)
    assert len(seen) < 20
    with pytest.raises(VideoError, match="nothing"):
        measure((end for end in ()), lambda end: end)


def test_a_plan_counts_videos_hours_parts_time_and_disk(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", numbers=range(50))
    assert stated_length(path) == (50, 2.0)
    assert stated_length(tmp_path / "none.mp4") is None
    items = [VideoItem(path, str(number)) for number in range(1800)]
    plan = plan_job(items, 7, lambda item: Sample(0.5, 1e6), divided=True)
    assert plan.lines(4, 10**12) == [
        "videos: 1,800 to process, 7 done before; about 1.0 h",
        "time: about 30 min in one job, or 8 min in 4 at a time; measured here on the first video",
        "disk: about 3.6 GB; 1,000.0 GB are free",
    ]
    assert "not known" in plan_job([VideoItem(tmp_path / "x", "x")], 0, None, divided=True).lines(1, None)[-1]


def test_parts_are_those_of_the_engine() -> None:
    assert [parts_of(60.0 * minutes) for minutes in (0, 14, 15, 20, 21, 120)] == [1, 1, 2, 2, 3, 12]
    assert spread(list(range(10)), 3) == [0, 3, 6]
    assert spread([1, 2], 3) == [1, 2]
