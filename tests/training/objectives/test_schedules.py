"""Schedules: their shape, and the published numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from endofm.errors import ConfigError
from endofm.training.objectives.schedules import CosineSchedule
from helpers.golden_pretraining import head_and_loss


def test_schedules() -> None:
    def values(schedule: CosineSchedule) -> list[float]:
        return [schedule(step) for step in range(schedule.total_steps)]

    peak = 5e-4 * 12 / 256
    np.testing.assert_allclose(values(CosineSchedule(peak, 1e-6, 35, 14)), head_and_loss()["sched/lr"], rtol=1e-12)
    np.testing.assert_allclose(values(CosineSchedule(0.04, 0.4, 35)), head_and_loss()["sched/wd"], rtol=1e-12)
    np.testing.assert_allclose(values(CosineSchedule(0.996, 1, 35)), head_and_loss()["sched/momentum"], rtol=1e-12)
    base, epochs, per_epoch, warmup, largest, last = head_and_loss()["sched/lr_recipe_meta"].tolist()
    recipe = CosineSchedule(base, 1e-6, int(epochs * per_epoch), int(warmup * per_epoch))
    every = head_and_loss()["sched/lr_recipe_every_1000"]
    np.testing.assert_allclose([recipe(1000 * i) for i in range(len(every))], every, rtol=1e-12)
    # "largest" and "last" are stored rounded to float64 sums of the whole table: equal to the schedule's own.
    assert max(values(recipe)) == pytest.approx(largest, rel=1e-12)
    assert recipe(recipe.total_steps - 1) == pytest.approx(last, rel=1e-12)


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
