"""Timing on a shared, noisy machine: candidates take turns, and only their ratios are reported.

Absolute times mean nothing where other work runs beside the benchmark. Within one round every candidate runs once, in
turn, so that a slow spell hits all of them; the ratio to the first candidate is taken within the round, and the median
over rounds is reported with its quartiles.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Ratio:
    """How many times faster than the first candidate: median and quartiles over rounds.

    Attributes:
        name: The candidate.
        median: Its speed, in units of the first candidate's.
        low: Lower quartile.
        high: Upper quartile.
        seconds: Median time of one run.
    """

    name: str
    median: float
    low: float
    high: float
    seconds: float


def compare(
    candidates: Mapping[str, Callable[[], object]],
    *,
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
    warm_up: int = 1,
) -> dict[str, Ratio]:
    """Time the candidates in turn; the first one is the reference.

    Args:
        candidates: Name to a function that does the work once.
        rounds: How often each runs.
        clock: ``time.perf_counter`` for wall time, ``time.process_time`` for CPU seconds (better at one thread).
        warm_up: Rounds that are run and not counted.
    """
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for round_ in range(warm_up + rounds):
        for name, work in candidates.items():
            start = clock()
            work()
            elapsed = clock() - start
            if round_ >= warm_up:
                times[name].append(elapsed)
    first = next(iter(times.values()))
    return {
        name: spread(name, [a / b for a, b in zip(first, measured, strict=True)], statistics.median(measured))
        for name, measured in times.items()
    }


def spread(name: str, values: list[float], seconds: float) -> Ratio:
    """Return the median of some ratios with their quartiles."""
    low, _, high = statistics.quantiles(values, n=4) if len(values) > 1 else values * 3
    return Ratio(name, statistics.median(values), low, high, seconds)
