"""The interface of the training loop: the task that the documentation shows runs, and learns."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from helpers.paths import REPOSITORY


def test_the_task_of_the_documentation_trains_and_resumes(tmp_path: Path) -> None:
    page = (REPOSITORY / "docs/training.md").read_text(encoding="utf-8")
    (code,) = [block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "TrainingTask" in block]
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert 0 < float(done.stdout) < 4
    assert (tmp_path / "runs/regression/logs/train.csv").exists()
    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert again.stdout == done.stdout
