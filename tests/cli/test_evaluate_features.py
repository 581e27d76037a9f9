"""``endofm evaluate features``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from endofm.cli.main import main
from helpers.labelled_clips import write_features


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved = write_features(tmp_path)
    command = ["evaluate", "features", str(saved / "features"), "--labels", str(saved / "labels.csv"), "--folds", "2"]
    assert main([*command, "--k", "3", "--resamples", "10", "-o", str(saved / "report")]) == 0
    assert "balanced_accuracy" in capsys.readouterr().out
    values = json.loads((saved / "report" / "report.json").read_text())
    assert values["settings"]["split"] == "2-fold cross-validation"
    assert values["items"] == 12
    assert main([*command, "--method", "prototypes", "--shots", "1", "--seeds", "2", "--resamples", "0"]) == 0
    assert "+-" in capsys.readouterr().out
    assert main([*command, "--test", str(saved / "labels.csv")]) == 1
    assert "both in the training set and in the test set" in capsys.readouterr().err
