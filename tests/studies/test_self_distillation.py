"""The study of self-distillation: its settings, its easy set, its resumption, and that the easy set is learnt."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from endofm.training.config_files import load_config
from helpers.paths import REPOSITORY
from helpers.tiny_study import result_times, run_tiny

CONFIGS = REPOSITORY / "studies" / "configs" / "self-distillation"
TINY = {
    "pictures": "textures",
    "textures": 64,
    "camera": {"num_frames": 2, "size": 96, "zoom": [1.0, 1.0], "rotation": 0, "gain": 0, "motion": 0},
    "encoder": {"img_size": 32, "num_frames": 2, "embed_dim": 24, "depth": 1, "num_heads": 2},
    "batch_size": 32,
    "steps": 4,
    "states": 3,
    "seeds": [0],
    "objective": {
        "name": "endofm-fixed",
        "centering": "sinkhorn",
        "views": {
            "global_frames": [1, 1],
            "local_frames": [1],
            "global_size": 32,
            "local_size": 16,
            "global_margin": 0,
            "local_parts": 2,
        },
        "head": {"out_dim": 32, "hidden_dim": 16, "bottleneck_dim": 8},
    },
    "arms": {"a": {"teacher_temp": 0.04, "norm": "batch"}, "b": {"teacher_temp": 0.01, "norm": "none"}},
}


@pytest.mark.parametrize("size", ["real", "textures"])
def test_the_arms_are_norm_and_temperature_two_by_two(size: str) -> None:
    from studies.self_distillation import SelfDistillationSettings

    settings = load_config(SelfDistillationSettings, CONFIGS / f"{size}.yaml")
    objectives = [settings.of_arm(name, 40) for name in settings.arms]
    assert [(o.teacher_temp, o.head.norm) for o in objectives] == [
        (0.04, "batch"),
        (0.04, "none"),
        (0.01, "batch"),
        (0.01, "none"),
    ]
    assert all(o.warmup_teacher_temp == o.teacher_temp and o.warmup_epochs == 4 for o in objectives)
    assert all(o.centering == "sinkhorn" for o in objectives)


def test_the_tint_alone_tells_the_hue_and_is_weak() -> None:
    from studies.textures import KINDS, draw_textures

    pictures, labels = draw_textures(320, 96, seed=0)
    values = np.array(pictures, float)
    means = values.mean(axis=(1, 2))
    assert means.mean(axis=1).std() > 30  # brightness differs far more than the channels of a picture do
    ratios = means / means.mean(axis=1, keepdims=True)
    assert np.ptp(ratios, axis=1).max() < 0.15
    shared, _ = np.histogram(labels, bins=len(KINDS))
    assert shared.min() > 20
    angles = np.angle(ratios @ np.exp(-2j * np.pi * np.arange(3) / 3)) / (2 * np.pi) % 1
    assert np.mean((angles * len(KINDS)).astype(int) == labels) > 0.9
    assert abs(np.corrcoef(means.mean(axis=1), np.cos(2 * np.pi * angles))[0, 1]) < 0.15


@pytest.mark.long
def test_self_distillation_learns_the_easy_set(tmp_path: Path) -> None:
    """Fails if the objective does not learn: the gain is several times what seeds differ by."""
    from studies.self_distillation import SelfDistillationSettings, SelfDistillationStudy
    from studies.study import Cell

    whole = load_config(SelfDistillationSettings, CONFIGS / "textures.yaml")
    settings = replace(whole, textures=640, steps=80, states=2)
    arm = "temperature .04, batch norm"
    result = SelfDistillationStudy(settings, tmp_path).run(Cell(arm, 0), tmp_path / "cell")
    before, after = (state["scores"]["k-NN"] for state in result["states"])
    assert after > before + 0.03


def test_one_command_trains_scores_and_keeps_what_is_done(tmp_path: Path) -> None:
    summary = run_tiny("self-distillation", TINY, tmp_path)
    assert list(summary["arms"]) == ["a", "b"]
    for row in summary["arms"].values():
        assert [state["step"] for state in row["states"]] == [0, 2, 4]
        assert row["clips"] == 128
        assert row["signs"]["teacher_information"][-1][0] == 4
    first = [row["states"][0]["scores"]["k-NN"]["mean"] for row in summary["arms"].values()]
    assert first[0] == first[1]  # the same untrained network
    before = result_times(tmp_path)
    run_tiny("self-distillation", TINY, tmp_path)
    assert result_times(tmp_path) == before
