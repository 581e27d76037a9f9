"""The detection study: its settings, its tables, and a run at its smallest size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from endofm.training.config_files import load_config
from helpers.paths import REPOSITORY
from helpers.tiny_study import render_in_this_process, result_times, run_tiny

CONFIGS = REPOSITORY / "studies" / "configs" / "detection"
TINY: dict[str, Any] = {
    "data": {"pretrain_clips": 4, "pretrain_patients": 2, "clips": 5, "patients": 5, "width": 64, "height": 64}
    | {"frames": 4, "difficulty": 0},
    "encoder": {"img_size": 64, "num_frames": 2, "embed_dim": 32, "depth": 1, "num_heads": 2},
    "size": 64,
    "channels": 16,
    "tower_depth": 1,
    "pretrain_epochs": 1,
    "pretrain_batch": 4,
    "epochs": 1,
    "seeds": [0],
    "arms": {
        "scratch": {},
        "vcl": {
            "pretrain": {
                "name": "vcl",
                "concepts": 8,
                "hidden_dim": 16,
                "contrast_dim": 8,
                "clip_frames": 2,
                "max_stride": 2,
                "crop_size": 64,
                "queue_size": 8,
            },
            "transfer": "linear",
        },
    },
}


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


@pytest.mark.parametrize("size", ["mini", "small", "full"])
def test_cells_have_their_own_folders_and_share_encoders(size: str, tmp_path: Path) -> None:
    from studies.detection import DetectionStudy, DetectionStudySettings

    settings = load_config(DetectionStudySettings, CONFIGS / f"{size}.yaml")
    study = DetectionStudy(settings, tmp_path)
    assert study.arms() == ["scratch", "vcl", "st-adapter", "endofm"]
    cells = study.cells()
    assert len({study.folder(cell) for cell in cells}) == len(cells)
    by_arm = {cell.arm: cell for cell in cells if cell.seed == 0}
    encoders = {arm: study.encoder_folder(cell) for arm, cell in by_arm.items()}
    assert encoders["scratch"] is None
    assert encoders["st-adapter"] == encoders["endofm"] != encoders["vcl"]
    longer = DetectionStudy(load_config(DetectionStudySettings, CONFIGS / f"{size}.yaml", ["epochs=99"]), tmp_path)
    assert longer.folder(by_arm["endofm"]) != study.folder(by_arm["endofm"])
    assert longer.encoder_folder(by_arm["endofm"]) == encoders["endofm"]
    for arm in settings.arms.values():
        tuning = settings.fine_tuning(arm, tmp_path, tmp_path if arm.pretrain else None, 1)
        assert tuning.evaluation.without_refinement
        assert tuning.run.epochs == settings.epochs
        if arm.pretrain is not None:
            pretraining = settings.pretraining(arm.pretrain, tmp_path, 1)
            assert pretraining.objective.warmup_epochs <= settings.pretrain_epochs


def test_tables_have_means_deviations_and_the_published_numbers_with_their_source(tmp_path: Path) -> None:
    from studies.detection import DetectionStudy, DetectionStudySettings
    from studies.study import summarize
    from studies.study_report import save

    study = DetectionStudy(load_config(DetectionStudySettings, CONFIGS / "mini.yaml"), tmp_path)
    results = [result("endofm", 0, 0.5), result("endofm", 1, 0.7), result("scratch", 0, None)]
    summary = summarize(study, results, command="python x")
    text = study.table(summary)
    assert "| endofm | 60.0 ± 14.1 |" in text
    assert "+10.0 ± 0.0" in text
    assert "| scratch | - |" in text
    assert "84.1 (arXiv 2306.16741" in text
    assert summary["arms"]["endofm"]["seeds"] == [0, 1]
    assert save(DetectionStudy, summary, tmp_path, "mini")[2].stat().st_size > 5000


def test_one_command_runs_all_arms_and_keeps_finished_cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    render_in_this_process(monkeypatch)
    summary = run_tiny("detection", TINY, tmp_path)
    assert list(summary["arms"]) == ["scratch", "vcl"]
    assert summary["arms"]["scratch"]["steps"] > 0
    before = result_times(tmp_path)
    run_tiny("detection", TINY, tmp_path)
    assert result_times(tmp_path) == before
