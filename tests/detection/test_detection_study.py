"""The study's settings and tables; its runs are tried by hand, they take minutes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from helpers import paths

STUDY = paths.REPOSITORY / "benchmarks" / "detection_study"


@pytest.fixture
def study_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(STUDY))


def result(arm: str, seed: int, ap50: float | None) -> dict[str, Any]:
    scores = {"ap50": ap50, "ap50_95": 0.2, "presence_f1": 0.6, "lesion_sensitivity": 0.5}
    worse = {**scores, "ap50": None if ap50 is None else ap50 - 0.1}
    return {
        "arm": arm,
        "seed": seed,
        "scores": {"refined": scores, "unrefined": worse},
        "steps": 10,
        "cpu_seconds": 1.0,
        "wall_seconds": 2.0,
    }


@pytest.mark.usefixtures("study_path")
@pytest.mark.parametrize("size", ["mini", "small", "full"])
def test_settings_lead_to_runs_and_cells_have_places_of_their_own(size: str, tmp_path: Path) -> None:
    from detection_cells import Cell
    from detection_settings import StudyConfig

    from endofm.training.config_files import load_config

    study = load_config(StudyConfig, STUDY / f"{size}.yaml")
    assert list(study.arms) == ["scratch", "vcl", "st-adapter", "endofm"]
    cells = [Cell(study, tmp_path, arm, seed) for arm in study.arms for seed in study.seeds]
    assert len({cell.folder for cell in cells}) == len(cells)
    by_arm = {cell.arm: cell for cell in cells if cell.seed == 0}
    assert by_arm["scratch"].encoder_folder is None
    assert by_arm["st-adapter"].encoder_folder == by_arm["endofm"].encoder_folder != by_arm["vcl"].encoder_folder
    longer = load_config(StudyConfig, STUDY / f"{size}.yaml", ["epochs=99"])
    other = Cell(longer, tmp_path, "endofm", 0)
    assert other.folder != by_arm["endofm"].folder
    assert other.encoder_folder == by_arm["endofm"].encoder_folder
    for arm in study.arms.values():
        tuning = study.fine_tuning(arm, tmp_path, tmp_path if arm.pretrain else None, 1)
        assert tuning.evaluation.without_refinement
        assert tuning.run.epochs == study.epochs
        if arm.pretrain is not None:
            pretraining = study.pretraining(arm.pretrain, tmp_path, 1)
            assert pretraining.objective.warmup_epochs <= study.pretrain_epochs


@pytest.mark.usefixtures("study_path")
def test_tables_have_means_deviations_and_the_published_numbers_with_their_source(tmp_path: Path) -> None:
    from detection_report import markdown, save, summarize
    from detection_settings import StudyConfig

    from endofm.training.config_files import load_config

    study = load_config(StudyConfig, STUDY / "mini.yaml")
    results = [result("endofm", 0, 0.5), result("endofm", 1, 0.7), result("scratch", 0, None)]
    summary = summarize(study, results, command="python x")
    text = markdown(summary)
    assert "| endofm | 60.0 ± 14.1 |" in text
    assert "+10.0 ± 0.0" in text
    assert "| scratch | - |" in text
    assert "84.1 (arXiv 2306.16741" in text
    paths = save(summary, tmp_path, "mini")
    assert json.loads(paths[0].read_text())["arms"]["endofm"]["seeds"] == [0, 1]
    assert paths[2].stat().st_size > 5000
