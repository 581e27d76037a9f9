"""Cluster bootstrap: whole groups are resampled, and intervals cover the truth."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from endofm.evaluation.bootstrap import BootstrapSettings, bootstrap


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=2, max_size=40), st.integers(0, 1000))
def test_the_bootstrap_draws_whole_groups(members: list[int], seed: int) -> None:
    sizes = np.bincount(members)

    def count(places: np.ndarray) -> dict[str, float]:
        drawn = np.bincount(np.asarray(members)[places], minlength=len(sizes))
        assert all(drawn[g] % sizes[g] == 0 for g in np.unique(members))
        assert sum(drawn[g] // sizes[g] for g in np.unique(members)) == len(np.unique(members))
        return {"items": float(len(places))}

    found = bootstrap(count, [str(m) for m in members], BootstrapSettings(resamples=5, seed=seed))
    assert found["items"].value == len(members)


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    covered = 0
    for _ in range(100):
        effects = np.repeat(generator.standard_normal(40), 5)
        values = effects + 0.1 * generator.standard_normal(200)
        groups = [str(i // 5) for i in range(200)]
        interval = bootstrap(
            lambda p, v=values: {"mean": float(v[p].mean())}, groups, BootstrapSettings(resamples=200)
        )["mean"]
        covered += interval.low <= 0 <= interval.high
    # Resampling single items instead of groups would cover in about half of the cases.
    assert 85 <= covered <= 99
