"""What all reports share: order of the files, summary, averages over seeds."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from endofm.disclaimer import DISCLAIMER
from endofm.errors import MissingExtraError
from endofm.evaluation.bootstrap import BootstrapSettings
from endofm.evaluation.report import Report, over_seeds, read_summary, score


def test_mean_and_deviation_over_seeds() -> None:
    reports = [{"metrics": {"f1": {"value": v}, "auroc": {"value": a}}} for v, a in ((0.8, 0.9), (0.9, None))]
    table = over_seeds(reports)
    assert set(table) == {"f1"}
    assert table["f1"]["mean"] == pytest.approx(0.85)
    assert table["f1"]["sd"] == pytest.approx(np.std([0.8, 0.9], ddof=1))
    assert over_seeds(reports[:1])["f1"]["sd"] is None


@dataclass(frozen=True, eq=False, kw_only=True)
class CountReport(Report):
    """The smallest report: a table and a picture that cannot be drawn."""

    task: ClassVar[str] = "counting"

    def heading(self) -> str:
        return "3 items"

    def details(self) -> dict[str, Any]:
        return {"items": 3}

    def tables(self) -> dict[str, list[list[object]]]:
        return {"items.csv": [["id"], ["a"]]}

    def draw(self, folder: Path) -> None:
        assert (folder / "report.json").is_file(), "the numbers are written before the pictures"
        raise MissingExtraError("no matplotlib")


def count_report(groups: list[str]) -> CountReport:
    shared = score(
        lambda indices: {"mean": float(np.mean(indices)), "undefined": float("nan")},
        groups,
        settings={"by": "hand"},
        notes=["a note"],
        bootstrap_settings=BootstrapSettings(resamples=10),
    )
    return CountReport(**shared)


def test_a_report_gives_only_what_differs(tmp_path: Path) -> None:
    report = count_report(["p1", "p2", "p3"])
    with pytest.raises(MissingExtraError):
        report.save(tmp_path / "report")
    assert (tmp_path / "report" / "items.csv").read_text().split() == ["id", "a"]
    values = json.loads((tmp_path / "report" / "report.json").read_text())
    assert values == report.to_dict()
    assert values["task"] == "counting"
    assert values["items"] == 3
    assert values["metrics"]["undefined"] == {"value": None, "low": None, "high": None}
    assert values["bootstrap"]["unit"] == "patient, else video"
    assert values["notes"] == [
        "a note",
        "The intervals rest on 3 patients or videos only and are likely too narrow.",
        DISCLAIMER,
    ]
    lines = report.summary().splitlines()
    assert lines[0] == "3 items"
    assert lines[2].split() == ["undefined", "-"]
    # The terminal shows of a finished run what its report says.
    assert read_summary(tmp_path)[1] == lines[1].replace("mean      ", "mean ")
    assert not read_summary(tmp_path / "nowhere")


def test_many_patients_need_no_warning() -> None:
    assert count_report([f"p{i}" for i in range(30)]).notes == ("a note",)
