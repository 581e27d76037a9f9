"""Detection reports: intervals by patient, tables and pictures."""

from __future__ import annotations

import json
from pathlib import Path

from PIL import Image

from endofm.evaluation.bootstrap import BootstrapSettings
from endofm.evaluation.detection_report import DetectionReport
from helpers.detection_results import random_results


def test_reports_have_intervals_by_patient_and_pictures(tmp_path: Path) -> None:
    image = tmp_path / "x.png"
    Image.new("RGB", (100, 100)).save(image)
    results = random_results(3)
    for video in results.videos:
        for one in video.frames:
            object.__setattr__(one, "path", image)
    report = DetectionReport.of(results, threshold=0.5, bootstrap=BootstrapSettings(resamples=40), notes=["a note"])
    file = report.save(tmp_path / "report")
    values = json.loads(file.read_text())
    ap50 = values["metrics"]["ap50"]
    assert ap50["low"] <= ap50["value"] <= ap50["high"]
    assert values["groups"] == 2
    assert set(values["per_video"]) == {"v0", "v1", "v2", "v3"}
    assert values["notes"][0] == "a note"
    assert "likely too narrow" in values["notes"][1]
    with Image.open(tmp_path / "report" / "worst.png") as sheet:
        assert sheet.width == 4 * 320
    assert (tmp_path / "report" / "sweep.png").stat().st_size > 5000
    assert len((tmp_path / "report" / "videos.csv").read_text().splitlines()) == 5
    assert "presence_f1" in report.summary()
    again = DetectionReport.of(results, threshold=0.5, bootstrap=BootstrapSettings(resamples=40))
    assert again.metrics["ap50"] == report.metrics["ap50"]
