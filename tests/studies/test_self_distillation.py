"""The study of self-distillation: its settings, its easy set, its resumption, and that the easy set is learnt."""

from __future__ import annotations

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


def test_a_texture_shows_its_kind_and_nothing_else() -> None:
    from studies.textures import ANGLES, KINDS, PERIODS, draw_textures

    pictures, labels = draw_textures(160, 96, seed=0)
    means = np.array([picture.mean() for picture in pictures])
    spreads = np.array([picture.std() for picture in pictures])
    assert np.ptp(means) < 1
    assert np.ptp(spreads) < 1
    assert not np.array_equal(pictures[0], pictures[len(KINDS)])
    for kind in range(len(KINDS)):
        power = np.mean([np.abs(np.fft.fft2(p[..., 0] - p.mean())) ** 2 for p in np.array(pictures)[labels == kind]], 0)
        y, x = np.unravel_index(power[:48].argmax(), (48, 96))
        fx, fy = np.fft.fftfreq(96)[x], np.fft.fftfreq(96)[y]
        angle, period = ANGLES[kind // len(PERIODS)], PERIODS[kind % len(PERIODS)]
        assert np.hypot(fx, fy) == pytest.approx(1 / period, rel=0.35)
        turned = abs(np.degrees(np.arctan2(fy, fx)) - angle) % 180
        assert min(turned, 180 - turned) < 20
    bright = draw_textures(160, 96, seed=0, brightness=37)[0]
    assert np.std([picture.mean() for picture in bright]) > 15


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
