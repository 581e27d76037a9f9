"""Intervals by resampling whole videos or patients: clips of one video are not independent of one another."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from endofm.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A value with its uncertainty.

    Attributes:
        value: On all items.
        low: Lower end of the interval; not a number if it could not be estimated.
        high: Upper end.
    """

    value: float
    low: float
    high: float

    def to_dict(self) -> dict[str, float | None]:
        """Return plain values, None for what is not a number."""
        return {name: plain(getattr(self, name)) for name in ("value", "low", "high")}


def bootstrap(
    statistic: Callable[[npt.NDArray[np.int64]], Mapping[str, float]],
    groups: Sequence[str],
    *,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Interval]:
    """Return statistics with percentile intervals of the cluster bootstrap.

    As many groups as there are are drawn with replacement, each with all its items (Davison and Hinkley, *Bootstrap
    Methods and their Application*, 1997, section 3.8). Resamples on which a statistic is not defined are left out of
    its interval; with fewer than two groups there is none.

    Args:
        statistic: Takes positions of items, some of them several times, and returns numbers by name.
        groups: Group of every item.
        resamples: Number of resamples; 0 for no intervals.
        level: Share of the resamples between the ends.
        seed: Seed of the draws.

    Raises:
        InputError: If an argument is out of range.
    """
    if resamples < 0 or not 0 < level < 1:
        raise InputError(f"resamples must be >= 0 and level in (0, 1), got {resamples} and {level}")
    names, member = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    order = np.argsort(member, kind="stable")
    items = np.split(order, np.cumsum(np.bincount(member, minlength=len(names)))[:-1])
    values = dict(statistic(np.arange(len(member))))
    draws: dict[str, list[float]] = {name: [] for name in values}
    generator = np.random.default_rng(seed)
    for _ in range(resamples if len(names) > 1 else 0):
        chosen = generator.integers(0, len(names), len(names))
        for name, value in statistic(np.concatenate([items[place] for place in chosen])).items():
            draws[name].append(value)
    tail = (1 - level) / 2
    return {name: Interval(value=value, **_ends(draws[name], tail)) for name, value in values.items()}


def plain(value: float) -> float | None:
    """Return a number as JSON can hold it: None for what is not a number."""
    return None if math.isnan(value) else float(value)


def _ends(values: list[float], tail: float) -> dict[str, Any]:
    defined = [value for value in values if not math.isnan(value)]
    if not defined:
        return {"low": float("nan"), "high": float("nan")}
    low, high = np.quantile(defined, [tail, 1 - tail])
    return {"low": float(low), "high": float(high)}
