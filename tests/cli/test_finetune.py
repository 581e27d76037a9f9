"""``endofm finetune``: subcommands from the task table, and settings that are checked before torch is imported."""

from __future__ import annotations

import subprocess
import sys

import pytest

from endofm import task_table
from endofm.cli.main import main
from endofm.task_table import Task, register_task


@pytest.mark.parametrize(
    ("task", "wrong"), [("classification", "data.tran=x"), ("detection", "data.rot=x"), ("segmentation", "data.tran=x")]
)
def test_a_typo_is_answered_before_torch_is_imported(task: str, wrong: str) -> None:
    code = f"""
import sys
from endofm.cli.main import main
assert main(["finetune", "{task}", "nano", "{wrong}"]) == 1
heavy = {{"torch", "torchmetrics", "lightning_fabric", "sklearn"}} & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "did you mean" in done.stderr


def test_a_task_from_outside_gets_its_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(task_table, "_TASKS", dict(task_table._TASKS))
    register_task(
        Task(
            name="counting",
            model="toy:Model",
            layout="toy:Layout",
            finetuning="toy:RECIPE",
            # Any settings will do here: they are listed without the recipe.
            finetuning_config="endofm.training.finetune.classification_config:ClassificationConfig",
        )
    )
    assert main(["finetune", "counting", "--settings"]) == 0
    assert "`data.train`" in capsys.readouterr().out
