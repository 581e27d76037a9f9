"""The moving average of a student's weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from endofm.errors import InputError
from endofm.training.objectives.ema import MovingAverage


def test_the_average_is_its_formula() -> None:
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
