"""The study of objectives: its configurations, its budget, its resumption, and the page that shows its result."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from endofm.synthetic import rendered_set
from endofm.training.config_files import load_config
from helpers.paths import REPOSITORY

STUDY = REPOSITORY / "benchmarks" / "pretraining_study"
PAGE = REPOSITORY / "docs" / "pretraining_study.md"
TINY = (
    "data={pretrain_clips: 8, pretrain_patients: 4, labelled_clips: 12, labelled_patients: 6, size: 48, frames: 8, "
    "difficulty: 0}",
    "encoder={img_size: 16, patch_size: 8, num_frames: 2, embed_dim: 16, depth: 1, num_heads: 1}",
    "evaluation={folds: 2, repeats: 1, k: 3}",
    "batch_size=4",
    "crop_size=16",
    "num_frames=2",
    "seeds=[0]",
    "budget_tflop=0.001",
    "arms={a: {name: vcl, concepts: 4, hidden_dim: 8, contrast_dim: 8, clip_frames: 2, crop_size: 16, queue_size: 8}, "
    "b: {name: endofm-fixed, views: {global_frames: [2, 2], local_frames: [2], global_size: 16, local_size: 8}, "
    "head: {out_dim: 16, hidden_dim: 8, bottleneck_dim: 8}}}",
)


@pytest.fixture(scope="module")
def study() -> SimpleNamespace:
    """The modules of the study, which is a program and no package."""
    sys.path.insert(0, str(STUDY))
    try:
        import cells
        import report
        import settings
        import study
    finally:
        sys.path.remove(str(STUDY))
    return SimpleNamespace(cells=cells, report=report, settings=settings, study=study)


@pytest.mark.parametrize("size", ["mini", "full"])
def test_configurations_compare_like_with_like(study: SimpleNamespace, size: str) -> None:
    config = load_config(study.settings.StudyConfig, STUDY / f"{size}.yaml")
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
    assert config.data.sets()["pretrain"].render.seed != config.data.sets()["labelled"].render.seed


def test_one_command_makes_everything_at_equal_cost_and_keeps_what_is_done(
    study: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(rendered_set, "run_tasks", lambda work, tasks, jobs: ((task, work(task)) for task in tasks))
    assert study.study.main(["--size", "mini", "--out", str(tmp_path), *TINY]) == 0
    rows = [line.split("|")[1].strip() for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert rows[2:] == ["pixels", "scratch", "a", "b"]
    summary = json.loads((tmp_path / "mini.json").read_text(encoding="utf-8"))
    assert (tmp_path / "mini.png").stat().st_size > 0
    config = load_config(study.settings.StudyConfig, STUDY / "mini.yaml", TINY)
    for arm in config.arms:
        steps, tflop = (summary["arms"][arm][name] for name in ("steps", "tflop"))
        assert tflop == pytest.approx(config.budget_tflop, abs=tflop / steps)
    assert summary["arms"]["a"]["steps"] != summary["arms"]["b"]["steps"]

    changed = load_config(study.settings.StudyConfig, STUDY / "mini.yaml", [*TINY, "arms.b.learning_rate=0.1"])
    kept = {arm for arm, seed in changed.cells() if study.cells.Cell(changed, tmp_path, arm, seed).result()}
    assert kept == {"pixels", "scratch", "a"}


def test_summary_has_means_deviations_and_differences_by_seed(study: SimpleNamespace) -> None:
    config = load_config(study.settings.StudyConfig, STUDY / "mini.yaml", [*TINY, "seeds=[0,1]"])

    def cell(arm: str, seed: int, f1: float, **more: Any) -> dict[str, Any]:
        scores = {method: dict.fromkeys(study.report.METRICS, f1) for method in study.report.METHODS}
        return {"arm": arm, "seed": seed, "scores": scores, "feature_spread": 0.5, **more}

    trained = {
        "steps": 3,
        "clips": 12,
        "tflop": 0.5,
        "cpu_seconds": 2.0,
        "wall_seconds": 3.0,
        "last": {"contrast_vv": 1.0},
    }
    cells = [
        cell("scratch", 0, 0.5),
        cell("scratch", 1, 0.6),
        cell("a", 1, 0.8, **trained),
        cell("a", 0, 0.6, **trained),
    ]
    summary = study.report.summarize(config, cells, command="x")
    assert summary["arms"]["a"]["scores"]["knn"]["f1"]["mean"] == pytest.approx(0.7)
    assert summary["differences"]["a"]["knn"]["values"] == pytest.approx([0.1, 0.2])
    assert "| a | 70.0 ± 14.1 | 70.0 ± 14.1 |" in study.report.markdown(summary)
    assert "+15.0 ± 7.1" in study.report.markdown(summary)
    assert "| a | 0.50 ± 0.00 | 1.00 contrast of two clips" in study.report.signs_table(summary)


def test_page_shows_a_summary_and_can_be_filled_again(study: SimpleNamespace, tmp_path: Path) -> None:
    config = load_config(study.settings.StudyConfig, STUDY / "mini.yaml", TINY)
    scores = {method: dict.fromkeys(study.report.METRICS, 0.5) for method in study.report.METHODS}
    cell = {"arm": "scratch", "seed": 0, "scores": scores, "feature_spread": 0.5}
    summary = study.report.summarize(config, [cell], command="the command")
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- study: begin (x) -->\nstale text\n<!-- study: end -->\nafter\n", encoding="utf-8")
    for _ in range(2):
        study.report.fill_page(page, summary, command="fill", picture=Path("images/picture.png"))
    text = page.read_text(encoding="utf-8")
    assert text.startswith("before\n<!-- study: begin (fill) -->\nMade by `the command`")
    assert text.endswith("<!-- study: end -->\nafter\n")
    assert text.count("| scratch | 50.0 | 50.0 |") == 1
    assert "stale text" not in text
    assert (tmp_path / "images" / "picture.png").exists()


def test_page_of_the_documentation_is_what_its_summary_gives(study: SimpleNamespace, tmp_path: Path) -> None:
    text = PAGE.read_text(encoding="utf-8")
    command = re.search(r"study: begin \((.*)\)", text)
    assert command is not None
    summary = json.loads((REPOSITORY / command[1].split()[-1]).read_text(encoding="utf-8"))
    page = tmp_path / "page.md"
    page.write_text(text, encoding="utf-8")
    study.report.fill_page(page, summary, command=command[1], picture=Path("images/pretraining-study.png"))
    assert page.read_text(encoding="utf-8") == text
