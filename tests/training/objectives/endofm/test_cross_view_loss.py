"""The cross-view loss and its centre: the formula, the published numbers, and measures of collapse."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from endofm.errors import InputError
from endofm.training.objectives.endofm.cross_view_loss import CrossViewLoss, mean_entropy, mutual_information
from endofm.training.objectives.endofm.multicrop import MultiCropNetwork
from endofm.training.objectives.schedules import EpochWarmup
from helpers.golden_pretraining import head_and_loss, tensor


@pytest.mark.parametrize(
    ("tag", "temperature", "epochs"),
    [("const", EpochWarmup(0.04, 0.04, 0), 4), ("warm", EpochWarmup(0.02, 0.07, 3), 6)],
)
def test_loss_and_center(tag: str, temperature: EpochWarmup, epochs: int) -> None:
    table = [temperature(epoch) for epoch in range(epochs)]
    np.testing.assert_allclose(table, head_and_loss()[f"loss_{tag}/teacher_temp_schedule"], rtol=1e-12)
    objective = CrossViewLoss(128)
    for call, epoch in enumerate((0, 2)):
        student = tensor(f"loss/{tag}/student{call}", (20, 128)).requires_grad_()
        teacher = tensor(f"loss/{tag}/teacher{call}", (4, 128))
        loss = objective(student, objective.targets(teacher, temperature(epoch)))
        loss.backward()
        objective.collect(teacher)
        objective.update_center()
        assert loss.item() == pytest.approx(head_and_loss()[f"loss_{tag}/loss"][call], rel=1e-6)
        np.testing.assert_allclose(objective.center, head_and_loss()[f"loss_{tag}/center"][call], rtol=0, atol=1e-6)
        if call == 0:
            assert student.grad is not None
            np.testing.assert_allclose(student.grad, head_and_loss()[f"loss_{tag}/grad_student0"], rtol=0, atol=1e-6)


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


def test_entropy_detects_a_collapse() -> None:
    assert mean_entropy(torch.full((3, 8), 1 / 8)).item() == pytest.approx(math.log(8))
    assert mean_entropy(torch.eye(8)).item() == 0


def test_mutual_information_detects_both_kinds_of_collapse() -> None:
    def information(rows: Tensor) -> float:
        return mutual_information(rows).item()

    assert information(torch.full((4, 8), 1 / 8)) == pytest.approx(0, abs=1e-6)
    assert information(torch.eye(8)[[3, 3, 3, 3]]) == pytest.approx(0, abs=1e-6)
    assert information(torch.eye(8)[:4]) == pytest.approx(torch.tensor(4.0).log().item())
