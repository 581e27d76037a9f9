"""Confidence intervals by the cluster bootstrap: whole patients or videos are resampled, never single clips."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from endofm.errors import InputError

Statistic = Callable[[npt.NDArray[np.int64]], Mapping[str, float]]
"""Maps indices of items, possibly repeated, to named values; NaN where a value is undefined."""


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A value with its confidence interval.

    Attributes:
        value: Value over all items.
        low: Lower end of the interval; NaN if it could not be estimated.
        high: Upper end.
    """

    value: float
    low: float
    high: float

    def to_dict(self) -> dict[str, float | None]:
        """Return plain values, None for NaN."""
        return {name: plain(getattr(self, name)) for name in ("value", "low", "high")}

    def __str__(self) -> str:
        """Return ``0.912  [0.874, 0.950]``, without the ends where there is no interval, ``-`` for NaN."""
        if math.isnan(self.value):
            return "-"
        ends = "" if math.isnan(self.low) else f"  [{self.low:.3f}, {self.high:.3f}]"
        return f"{self.value:.3f}{ends}"


@dataclass(frozen=True, kw_only=True)
class BootstrapSettings:
    """Settings of the cluster bootstrap.

    Attributes:
        resamples: Number of resamples; 0 for no intervals.
        level: Fraction of the resamples that lies within an interval.
        seed: Seed of the draws.

    Raises:
        InputError: If a value is out of range.
    """

    resamples: int = 1000
    level: float = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        if self.resamples < 0 or not 0 < self.level < 1:
            raise InputError(f"resamples must be >= 0 and level in (0, 1), got {self.resamples} and {self.level}")

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, with the unit that is resampled."""
        return {**asdict(self), "unit": "patient, else video"}


def bootstrap(
    statistic: Statistic, groups: Sequence[str], settings: BootstrapSettings | None = None
) -> dict[str, Interval]:
    """Return named values with percentile intervals of the cluster bootstrap.

    Each resample draws as many groups as there are, with replacement, and takes every drawn group with all its items
    (Davison and Hinkley, *Bootstrap Methods and their Application*, 1997, section 3.8). Clips of one patient resemble
    one another: resampling them one by one would treat them as independent and give intervals that are too narrow.
    Resamples in which a value is undefined are left out of its interval. With fewer than two groups no interval can be
    estimated.

    Args:
        statistic: Computes the values over some items.
        groups: Patient or video of every item.
        settings: Number of resamples, level and seed.
    """
    settings = settings or BootstrapSettings()
    values, draws = resample(statistic, groups, settings)
    return {name: interval_of(value, draws[name], settings.level) for name, value in values.items()}


def resample(
    statistic: Statistic, groups: Sequence[str], settings: BootstrapSettings
) -> tuple[dict[str, float], dict[str, npt.NDArray[np.float64]]]:
    """Return named values over all items, and over every resample of the groups.

    The resamples depend on the groups and the seed alone: values of two models on the same items are paired.

    Args:
        statistic: Computes the values over some items.
        groups: Patient or video of every item.
        settings: Number of resamples and seed.

    Returns:
        Values, and float64 ``(resamples,)`` for each, empty with fewer than two groups.
    """
    names, member = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    # Indices of the items of each group: a stable sort by group, cut where the next group begins.
    order = np.argsort(member, kind="stable")
    items = np.split(order, np.cumsum(np.bincount(member, minlength=len(names)))[:-1])
    values = dict(statistic(np.arange(len(member))))
    draws: dict[str, list[float]] = {name: [] for name in values}
    generator = np.random.default_rng(settings.seed)
    for _ in range(settings.resamples if len(names) > 1 else 0):
        drawn = generator.integers(0, len(names), len(names))
        for name, value in statistic(np.concatenate([items[index] for index in drawn])).items():
            draws[name].append(value)
    return values, {name: np.array(row, np.float64) for name, row in draws.items()}


def interval_of(value: float, draws: npt.NDArray[np.float64], level: float = 0.95) -> Interval:
    """Return a value with the percentile interval of its resamples; without any that is defined, with NaN as ends."""
    defined = draws[~np.isnan(draws)]
    if not len(defined):
        return Interval(value=value, low=float("nan"), high=float("nan"))
    tail = (1 - level) / 2
    low, high = np.quantile(defined, [tail, 1 - tail])
    return Interval(value=value, low=float(low), high=float(high))


def plain(value: float) -> float | None:
    """Return a number as JSON can hold it: None for NaN."""
    return None if math.isnan(value) else float(value)
