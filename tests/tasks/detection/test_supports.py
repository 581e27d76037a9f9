"""Selection of supports, against the published queue and by properties."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from endofm.errors import InputError
from endofm.tasks.detection.supports import SupportPlan, with_supports
from helpers import detection_fill as fill


class OneGenerator(SupportPlan):
    """The original draws from one generator for all videos, seeded once."""

    generator = np.random.RandomState(0)

    def draws(self) -> np.random.RandomState:
        return self.generator


def test_frames_and_supports_are_those_of_the_original_with_start_marks(goldens: fill.Goldens) -> None:
    rows = goldens["queue/column2_frame"]
    plan = OneGenerator(pattern="random")
    found = []
    for video, length in enumerate((14, 5, 23), start=1):
        frames = [100 * video + number for number in range(1, length + 1)]
        found += [(item.target, *item.supports) for item in with_supports(frames, plan)]
    # Columns: frame asked for, frame in the key slot, its ten supports, the nineteen slots.
    np.testing.assert_array_equal(np.array(found), rows[:, 1:12])
    np.testing.assert_array_equal(rows[:, 0], rows[:, 1])


plans = st.builds(
    SupportPlan,
    pattern=st.sampled_from(["spread", "all", "random"]),
    count=st.integers(0, 12),
    reach=st.integers(1, 9),
    online=st.booleans(),
    seed=st.integers(0, 3),
)


@settings(max_examples=100, deadline=None)
@given(plans, st.integers(0, 30))
def test_every_frame_once_in_order_and_supports_within_reach(plan: SupportPlan, length: int) -> None:
    taken = 0

    def frames() -> Iterator[int]:
        nonlocal taken
        for taken in range(1, length + 1):
            yield taken - 1

    for expected, (target, supports) in enumerate(with_supports(frames(), plan)):
        assert target == expected
        assert taken <= target + 1 + plan.ahead  # nothing is read earlier than it is needed
        assert all(abs(support - target) <= plan.reach for support in supports)
        if plan.online:
            assert all(support <= target for support in supports)
    assert taken == length


def test_fixed_supports_are_spread_evenly() -> None:
    draws = SupportPlan().draws()
    assert SupportPlan().offsets(draws) == [-9, -7, -5, -3, -1, 1, 3, 5, 7, 9]
    assert SupportPlan(count=2).offsets(draws) == [-1, 1]
    assert SupportPlan(online=True).offsets(draws) == [-9, -8, -7, -6, -5, -4, -3, -2, -1]
    assert SupportPlan(online=True, count=3).offsets(draws) == [-9, -5, -1]
    assert SupportPlan(pattern="all", reach=2).offsets(draws) == [-2, -1, 1, 2]
    assert SupportPlan(count=0).offsets(draws) == []


def test_random_supports_are_the_same_at_every_run_and_differ_by_seed() -> None:
    def run(seed: int) -> list[list[int]]:
        return [item.supports for item in with_supports(range(30), SupportPlan(pattern="random", seed=seed))]

    assert run(0) == run(0)
    assert run(0) != run(1)


@pytest.mark.parametrize("values", [{"pattern": "some"}, {"count": -1}, {"reach": 0}, {"count": 1.5}])
def test_bad_plans_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(InputError, match=next(iter(values))):
        SupportPlan(**values)  # type: ignore[arg-type]
