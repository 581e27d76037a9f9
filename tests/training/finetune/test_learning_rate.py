"""Learning-rate schedules: the published rates, warm-up and shapes."""

from __future__ import annotations

import numpy as np
import pytest

from endofm.training.engine.training_task import Plan
from endofm.training.finetune.learning_rate import ScheduleConfig
from helpers.published_classification import GOLDEN, published


def test_the_published_learning_rates() -> None:
    config = published()
    plan = Plan(steps_per_epoch=44, total_steps=20 * 44, batch_size=config.run.batch_size)
    rates = [config.optimizer.peak(4) * config.schedule.factor(plan, step) for step in range(plan.total_steps)]
    per_epoch = np.array(rates).reshape(20, 44)
    np.testing.assert_allclose(per_epoch, np.tile(GOLDEN["recipe/lr_per_epoch"][:, None], 44), rtol=1e-12)
    assert rates[0] == pytest.approx(1.5625e-5)


def test_other_schedules() -> None:
    plan = Plan(steps_per_epoch=10, total_steps=100, batch_size=8)
    warm = ScheduleConfig(warmup_epochs=1, end=0.1)
    factors = [warm.factor(plan, step) for step in range(100)]
    assert factors[0] == pytest.approx(1 / 11)
    assert max(factors) == factors[10] == 1
    assert factors[-1] == pytest.approx(0.1, abs=1e-3)
    assert (np.diff(factors[10:]) <= 0).all()
    polynomial = ScheduleConfig(name="polynomial", power=0.9)
    assert polynomial.factor(plan, 50) == pytest.approx(0.5**0.9)
    assert ScheduleConfig(name="constant").factor(plan, 99) == 1
    assert ScheduleConfig(every="epoch").factor(plan, 19) == ScheduleConfig(every="epoch").factor(plan, 10)
