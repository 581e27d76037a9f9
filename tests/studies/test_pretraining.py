"""The pre-training study: its configurations, its equal budget, its resumption, and its page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from endofm.training.config_files import load_config
from helpers.paths import REPOSITORY
from helpers.tiny_study import render_in_this_process, result_times, run_tiny

CONFIGS = REPOSITORY / "studies" / "configs" / "pretraining"
SMALL_VCL = {
    "name": "vcl",
    "concepts": 4,
    "hidden_dim": 8,
    "contrast_dim": 8,
    "clip_frames": 2,
    "crop_size": 16,
    "queue_size": 8,
}
SMALL_ENDOFM = {
    "name": "endofm-fixed",
    "views": {"global_frames": [2, 2], "local_frames": [2], "global_size": 16, "local_size": 8},
    "head": {"out_dim": 16, "hidden_dim": 8, "bottleneck_dim": 8},
}
TINY: dict[str, Any] = {
    "data": {
        "pretrain_clips": 8,
        "pretrain_patients": 4,
        "labelled_clips": 12,
        "labelled_patients": 6,
        "size": 48,
        "frames": 8,
        "difficulty": 0,
    },
    "encoder": {"img_size": 16, "patch_size": 8, "num_frames": 2, "embed_dim": 16, "depth": 1, "num_heads": 1},
    "evaluation": {"folds": 2, "repeats": 1, "k": 3},
    "batch_size": 4,
    "crop_size": 16,
    "num_frames": 2,
    "seeds": [0],
    "budget_tflop": 0.001,
    "arms": {"a": SMALL_VCL, "b": SMALL_ENDOFM},
}


@pytest.mark.parametrize("size", ["mini", "full"])
def test_configurations_compare_like_with_like(size: str) -> None:
    from studies.pretraining import PretrainingStudy, PretrainingStudySettings

    config = load_config(PretrainingStudySettings, CONFIGS / f"{size}.yaml")
    further = {"endofm-fixed-sinkhorn"} if size == "full" else set()
    assert set(config.arms) == {"vcl", "vcl-weak-colour", "endofm", "endofm-fixed"} | further
    assert config.arms["vcl"].colour == "vcl"
    published, fixed = config.arms["endofm"], config.arms["endofm-fixed"]
    assert published.views.crop_rule == "last_try"
    assert fixed.views.crop_rule == "first_fit"
    # Apart from the quirks the presets have the same settings.
    assert (published.views.frames, published.views.sizes) == (fixed.views.frames, fixed.views.sizes)
    for name in ("head", "teacher_momentum", "learning_rate", "weight_decay", "drop_path_rate"):
        assert getattr(published, name) == getattr(fixed, name), name
    sets = PretrainingStudy(config, Path("unused")).sets()
    assert sets["pretrain"].render.seed != sets["labelled"].render.seed


def test_one_command_runs_all_arms_at_equal_cost_and_keeps_finished_cells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from studies.pretraining import PretrainingStudy, PretrainingStudySettings

    render_in_this_process(monkeypatch)
    summary = run_tiny("pretraining", TINY, tmp_path)
    rows = [line.split("|")[1].strip() for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert rows[2:] == ["pixels", "scratch", "a", "b"]
    for arm in ("a", "b"):
        steps, tflop = (summary["arms"][arm][name] for name in ("steps", "tflop"))
        assert tflop == pytest.approx(TINY["budget_tflop"], abs=tflop / steps)
    assert summary["arms"]["a"]["steps"] != summary["arms"]["b"]["steps"]

    before = result_times(tmp_path)
    run_tiny("pretraining", TINY, tmp_path)
    assert result_times(tmp_path) == before
    changed = load_config(PretrainingStudySettings, TINY, ["arms.b.learning_rate=0.1"])
    study = PretrainingStudy(changed, tmp_path / "out")
    assert {cell.arm for cell in study.cells() if study.result(cell)} == {"pixels", "scratch", "a"}


def test_summary_has_means_deviations_and_differences_by_seed() -> None:
    from studies.feature_scores import METRICS
    from studies.pretraining import METHODS, PretrainingStudy, PretrainingStudySettings
    from studies.study import summarize

    study = PretrainingStudy(load_config(PretrainingStudySettings, TINY, ["seeds=[0,1]"]), Path("unused"))

    def result(arm: str, seed: int, f1: float, **more: Any) -> dict[str, Any]:
        scores = {method: dict.fromkeys(METRICS, f1) for method in METHODS}
        return {"arm": arm, "seed": seed, "scores": scores, "feature_spread": 0.5, **more}

    trained = {
        "steps": 3,
        "clips": 12,
        "tflop": 0.5,
        "cpu_seconds": 2.0,
        "wall_seconds": 3.0,
        "last": {"contrast_vv": 1.0},
    }
    results = [
        result("scratch", 0, 0.5),
        result("scratch", 1, 0.6),
        result("a", 1, 0.8, **trained),
        result("a", 0, 0.6, **trained),
    ]
    summary = summarize(study, results, command="x")
    assert summary["arms"]["a"]["scores"]["knn"]["f1"]["mean"] == pytest.approx(0.7)
    assert summary["differences"]["a"]["knn"]["values"] == pytest.approx([0.1, 0.2])
    assert "| a | 70.0 ± 14.1 | 70.0 ± 14.1 |" in study.table(summary)
    assert "+15.0 ± 7.1" in study.table(summary)
    assert "| a | 0.50 ± 0.00 | 1.00 contrast of two clips" in study.appendix(summary)[0]


def test_an_arm_cannot_take_the_name_of_an_untrained_one() -> None:
    from endofm.errors import ConfigError
    from studies.pretraining import PretrainingStudySettings

    with pytest.raises(ConfigError, match="'scratch' is not trained and always included"):
        load_config(PretrainingStudySettings, {**TINY, "arms": {"scratch": SMALL_VCL}})
    with pytest.raises(ConfigError, match="seeds must be different numbers"):
        load_config(PretrainingStudySettings, json.loads(json.dumps({**TINY, "seeds": [1, 1]})))
