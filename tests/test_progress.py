"""Functions in the place of bars, and events in logs."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest

from endofm.progress import progress_bar, timed_event

LOG = logging.getLogger("endofm.test_progress")


def test_a_function_gets_counts() -> None:
    seen: list[tuple[int, int | None]] = []
    with progress_bar(total=5, description="x", unit="clip", progress=lambda *counts: seen.append(counts)) as bar:
        bar.update(2)
        bar.update(3)
    with progress_bar(total=None, description="x", unit="clip", progress=lambda *counts: seen.append(counts)) as bar:
        bar.update(1)
    assert seen == [(2, 5), (5, 5), (1, None)]


def test_an_event_has_facts_outcome_and_duration(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="endofm")
    with timed_event(LOG, "video", name='a "b"\nc.mp4', frames=3) as facts:
        facts["problems"] = 1
    (record,) = caplog.records
    assert record.levelno == logging.INFO
    line = record.getMessage()
    assert line.startswith(r'video name="a \"b\"\nc.mp4" frames=3 problems=1 outcome=done seconds=')
    facts = record.endofm  # type: ignore[attr-defined]
    assert facts["event"] == "video"
    assert facts["name"] == 'a "b"\nc.mp4'
    assert facts["seconds"] >= 0


def test_an_error_is_a_warning_and_passes(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(KeyError), timed_event(LOG, "video"):
        raise KeyError("x")
    (record,) = caplog.records
    assert (record.levelno, record.endofm["outcome"]) == (logging.WARNING, "KeyError")  # type: ignore[attr-defined]


def test_nothing_is_printed_without_configuration() -> None:
    code = """
import endofm
try:
    endofm.EndoFM.from_pretrained("endofm-nano-4x96").extract_features("missing.mp4")
except endofm.errors.VideoError:
    print("refused")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("refused\n", "")
