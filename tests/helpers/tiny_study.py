"""Runs of the command of the studies at their smallest size."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from endofm.synthetic import rendered_set


def render_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Render without worker processes, whose imports take longer than the clips."""
    monkeypatch.setattr(rendered_set, "run_tasks", lambda work, tasks, jobs: ((task, work(task)) for task in tasks))


def run_tiny(study: str, settings: Mapping[str, Any], folder: Path, *overrides: str) -> dict[str, Any]:
    """Run a study with these settings, and return its summary."""
    from studies.__main__ import main

    config = folder / "tiny.yaml"
    config.write_text(json.dumps(settings))  # JSON is YAML
    assert main([study, "--config", str(config), "--out", str(folder / "out"), *overrides]) == 0
    assert (folder / "out/tiny.png").stat().st_size > 1000
    summary: dict[str, Any] = json.loads((folder / "out/tiny.json").read_text(encoding="utf-8"))
    return summary


def result_times(folder: Path) -> dict[Path, int]:
    """Times at which the results of the cells were written."""
    return {path: path.stat().st_mtime_ns for path in sorted((folder / "out/cells").rglob("result.json"))}
