"""A short run of the robustness campaign: no foreign exception, crash, hang, excess of memory or silent damage."""

from __future__ import annotations

import subprocess
import sys

import pytest

from helpers.paths import REPOSITORY


@pytest.mark.parametrize(("kind", "cases"), [("weights", 160), ("numbers", 120)])
def test_a_short_campaign_has_no_failures(kind: str, cases: int) -> None:
    command = [sys.executable, "-m", "benchmarks.robustness", "--kinds", kind, "--cases", str(cases), "--jobs", "2"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout
    assert f"{cases} attacks" in done.stdout
