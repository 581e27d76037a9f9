"""A short run of the robustness campaign: no foreign exception, crash, hang, excess of memory or silent damage."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks.robustness.__main__ import KINDS
from benchmarks.robustness.sandbox import Case, Outcome, run_cases
from endofm.errors import InputError
from helpers.paths import REPOSITORY

SHORT = {
    "videos": 200,
    "images": 120,
    "weights": 160,
    "files": 90,
    "numbers": 120,
    "names": 16,
    "lists": 120,
    "hub": 48,
    "kills": 3,
}
"""Attacks of each kind; all together take two minutes."""


def test_every_kind_of_attack_has_a_short_run() -> None:
    assert set(SHORT) == set(KINDS)


@pytest.mark.long
@pytest.mark.parametrize(("kind", "cases"), SHORT.items())
def test_a_short_campaign_has_no_failures(kind: str, cases: int) -> None:
    command = [sys.executable, "-m", "benchmarks.robustness", "--kinds", kind, "--cases", str(cases), "--jobs", "2"]
    command += ["--seconds", "300"]  # Machines of continuous integration are busy.
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert f"{cases} attacks" in done.stdout


def test_an_interrupted_campaign_is_continued(tmp_path: Path) -> None:
    results = tmp_path / "results.jsonl"
    command = [sys.executable, "-m", "benchmarks.robustness", "--kinds", "numbers", "--cases", "60", "--jobs", "1"]
    command += ["--results", str(results)]
    whole = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    lines = results.read_text().splitlines(keepends=True)
    assert len(lines) == 60
    results.write_text("".join(lines[:40]) + lines[40][:25] + "\n")
    again = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    assert again.split("\n\n")[0] == whole.split("\n\n")[0]
    assert len(results.read_text().splitlines()) == 61


class TestSandbox:
    """Whatever an attack does to its process, it is told apart, and the rest of the batch has its turn."""

    @pytest.mark.parametrize(
        ("attack", "outcome"),
        [
            (lambda: (Outcome.OK, "fine"), Outcome.OK),
            (lambda: 1 / 0, Outcome.FOREIGN),
            (lambda: os.kill(os.getpid(), 11), Outcome.CRASH),
            (lambda: os._exit(0), Outcome.CRASH),
            (lambda: time.sleep(60), Outcome.NO_END),
            (lambda: (bytearray(b"x" * 200_000_000), time.sleep(60)), Outcome.MEMORY),
        ],
    )
    def test_outcomes(self, attack: Any, outcome: Outcome) -> None:
        good = Case("row", "good", lambda: (Outcome.OK, ""))
        results = list(run_cases([good, Case("row", "bad", attack), good], seconds=6, memory_mb=100))
        assert [result.outcome for result in results] == [Outcome.OK, outcome, Outcome.OK]

    def test_long_messages_are_failures(self) -> None:
        def attack() -> Any:
            raise InputError("x" * 3000)

        (result,) = run_cases([Case("row", "bad", attack)])
        assert result.outcome is Outcome.FOREIGN
