"""Classification reports: reproducible intervals and complete files."""

from __future__ import annotations

import json
from pathlib import Path

from endofm.evaluation.bootstrap import BootstrapSettings
from endofm.evaluation.classification_report import ClassificationReport
from helpers.random_predictions import made_predictions


def test_intervals_do_not_depend_on_chance() -> None:
    p = made_predictions(2)
    first, second = (
        ClassificationReport.of(p, bootstrap=BootstrapSettings(resamples=20, seed=3)).to_dict() for _ in range(2)
    )
    assert first == second
    assert "intervals rest on 12" in " ".join(first["notes"])


def test_a_report_is_written_whole(tmp_path: Path) -> None:
    for p, name in (
        (made_predictions(2), "two"),
        (made_predictions(3), "three"),
        (made_predictions(3, multi_label=True), "several"),
    ):
        report = ClassificationReport.of(p, bootstrap=BootstrapSettings(resamples=5), settings={"seed": 1})
        report.save(tmp_path / name)
        assert {f.name for f in (tmp_path / name).iterdir()} == {
            "report.json", "predictions.csv", "roc.png", "confusion.png"
        }  # fmt: skip
        values = json.loads((tmp_path / name / "report.json").read_text())
        assert values["metrics"]["f1"]["low"] <= values["metrics"]["f1"]["value"] <= values["metrics"]["f1"]["high"]
        assert "medical advice" in values["notes"][-1]
        assert len((tmp_path / name / "predictions.csv").read_text().splitlines()) == len(p) + 1
        assert "f1" in report.summary()
