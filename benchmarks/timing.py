"""Timing on a shared, noisy machine: candidates take turns, and only their ratios are reported.

Absolute times mean little where other work runs at the same time. Within one round every candidate runs once, in
turn, so that a slow spell hits all of them; the ratio to the first candidate is taken within the round, and the median
over rounds is reported with its quartiles.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Ratio:
    """Speed relative to the first candidate: median and quartiles over rounds.

    Attributes:
        name: The candidate.
        median: Times faster than the first candidate.
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
        warm_up: Rounds that are not counted.
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
    """Return the median of ratios with their quartiles."""
    low, _, high = statistics.quantiles(values, n=4) if len(values) > 1 else values * 3
    return Ratio(name, statistics.median(values), low, high, seconds)


def print_table(title: str, ratios: Mapping[str, Ratio]) -> None:
    """Print ratios as a Markdown table."""
    print(f"\n{title}\n\n| | speed | quartiles |\n|---|---:|---:|")
    for name, ratio in ratios.items():
        print(f"| {name} | {ratio.median:.2f}x | {ratio.low:.2f} - {ratio.high:.2f} |")


def gains(candidates: Mapping[str, Callable[[], object]], threads: int, rounds: int) -> dict[str, str]:
    """Return how many times faster each candidate is than the first, as a string, without gradients.

    Args:
        candidates: Name to a function that does the work once.
        threads: Threads of the work; CPU seconds are compared at one, wall time at several.
        rounds: How often each candidate runs.
    """
    with torch.inference_mode():
        clock = time.process_time if threads == 1 else time.perf_counter
        ratios = compare(candidates, rounds=rounds, clock=clock, warm_up=2)
    return {key: f"{r.median:.2f}x ({r.low:.2f}x - {r.high:.2f}x)" for key, r in list(ratios.items())[1:]}
