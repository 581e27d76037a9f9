"""Schedules, gradients, running average and loss, beyond the golden numbers."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from endofm.errors import ConfigError, InputError
from endofm.training.objectives.ema import MovingAverage
from endofm.training.objectives.endofm.cross_view_loss import CrossViewLoss, mean_entropy
from endofm.training.objectives.endofm.endofm_config import EndoFMObjectiveConfig, ProjectionHeadConfig
from endofm.training.objectives.endofm.multicrop import MultiCropNetwork
from endofm.training.objectives.gradients import cancel_gradients, clip_each
from endofm.training.objectives.schedules import CosineSchedule


@given(total=st.integers(1, 200), share=st.floats(0, 1))
def test_a_schedule_rises_then_falls_and_keeps_its_last_value(total: int, share: float) -> None:
    warmup = int(share * total)
    schedule = CosineSchedule(1.0, 0.1, total, warmup)
    values = [schedule(step) for step in range(total)]
    assert values[:warmup] == sorted(values[:warmup])
    assert values[warmup:] == sorted(values[warmup:], reverse=True)
    assert all(value > 0.1 for value in values[warmup:])
    assert values[0] == (0 if warmup else 1)
    assert schedule(total + 5) == values[-1]


def test_a_warm_up_longer_than_the_run_is_refused() -> None:
    with pytest.raises(ConfigError, match="12 of 10 steps"):
        CosineSchedule(1, 0, 10, 12)


def test_the_average_is_the_formula_and_starts_where_told() -> None:
    torch.manual_seed(0)
    student, teacher = nn.Linear(3, 2), nn.Linear(3, 2)
    before = teacher.weight.clone()
    average = MovingAverage(teacher, student)
    average.update(0.9)
    torch.testing.assert_close(teacher.weight, 0.9 * before + 0.1 * student.weight)
    assert not teacher.weight.requires_grad
    average.update(0.0)
    torch.testing.assert_close(teacher.bias, student.bias)
    with pytest.raises(InputError, match="differ in weight"):
        MovingAverage(nn.Linear(3, 3), nn.Linear(4, 3))


def test_frozen_parameters_are_skipped_by_the_optimiser() -> None:
    module = nn.ModuleDict({"first": nn.Linear(2, 2), "last_layer": nn.Linear(2, 2)})
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.1, weight_decay=0.5)
    before = {name: p.clone() for name, p in module.named_parameters()}
    module["last_layer"](module["first"](torch.ones(1, 2))).sum().backward()
    cancel_gradients(module.named_parameters(), "last_layer")
    optimizer.step()
    for name, p in module.named_parameters():
        assert torch.equal(p, before[name]) == name.startswith("last_layer")


def test_nothing_to_clip() -> None:
    assert clip_each([nn.Parameter(torch.ones(2))], 1.0).shape == (0,)


@pytest.mark.parametrize(("views", "seen"), [(2, 2), (5, 2), (3, 1), (4, 3)])
def test_the_loss_is_the_mean_over_pairs(views: int, seen: int) -> None:
    torch.manual_seed(views)
    clips, width = 3, 7
    student, teacher = torch.randn(views * clips, width), torch.randn(seen * clips, width)
    objective = CrossViewLoss(width, teacher_views=seen, student_temp=0.2)
    objective.center += torch.randn(1, width)
    q = ((teacher - objective.center) / 0.05).softmax(-1)
    p = (student / 0.2).log_softmax(-1)
    pairs = [
        -(q[i * clips : (i + 1) * clips] * p[v * clips : (v + 1) * clips]).sum(-1).mean()
        for i in range(seen)
        for v in range(views)
        if v != i
    ]
    loss = objective(student, objective.targets(teacher, 0.05))
    torch.testing.assert_close(loss, torch.stack(pairs).mean())


def test_logits_in_half_precision_are_compared_in_full() -> None:
    student, teacher = torch.randn(4, 50), torch.randn(4, 50)
    objective = CrossViewLoss(50)
    rounded = objective(student.bfloat16(), objective.targets(teacher.bfloat16(), 0.04))
    full = objective(student.bfloat16().float(), objective.targets(teacher.bfloat16().float(), 0.04))
    assert rounded.dtype == torch.float32
    assert torch.equal(rounded, full)


def test_rows_that_are_no_views_of_one_batch_are_refused() -> None:
    objective = CrossViewLoss(5)
    with pytest.raises(InputError, match="7 rows of the student and 4 of the teacher"):
        objective(torch.zeros(7, 5), torch.zeros(4, 5))
    with pytest.raises(InputError, match="1 of the teacher"):
        objective(torch.zeros(4, 5), torch.zeros(1, 5))
    with pytest.raises(InputError, match=r"\[2, 3\]"):
        MultiCropNetwork(nn.Identity(), nn.Identity())([torch.zeros(2, 1), torch.zeros(3, 1)])


def test_entropy_tells_a_collapse() -> None:
    assert mean_entropy(torch.full((3, 8), 1 / 8)).item() == pytest.approx(math.log(8))
    assert mean_entropy(torch.eye(8)).item() == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"teacher_temp": 0}, "teacher_temp must be a number > 0, got 0"),
        ({"teacher_momentum": 1.2}, "teacher_momentum must be a number >= 0 and <= 1"),
        ({"drop_path_rate": 1}, "drop_path_rate must be < 1"),
        ({"warmup_epochs": 1.5}, "warmup_epochs must be an integer >= 0"),
        ({"clip_gradient": float("nan")}, "clip_gradient must be a number > 0"),
        ({"teacher_drop_path": "yes"}, "teacher_drop_path must be true or false"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        EndoFMObjectiveConfig(**settings)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="out_dim must be an integer >= 2"):
        ProjectionHeadConfig(out_dim=1)
