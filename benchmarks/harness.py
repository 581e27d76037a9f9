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
    """How many times faster than the reference: median and quartiles over rounds."""

    name: str
    median: float
    low: float
    high: float

    def row(self) -> str:
        return f"| {self.name} | {self.median:.2f}x | {self.low:.2f} - {self.high:.2f} |"


def compare(
    candidates: Mapping[str, Callable[[], object]],
    *,
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
    warm_up: int = 1,
) -> list[Ratio]:
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
    reference = next(iter(times.values()))
    ratios = []
    for name, measured in times.items():
        values = sorted(a / b for a, b in zip(reference, measured, strict=True))
        low, _, high = statistics.quantiles(values, n=4) if len(values) > 1 else values * 3
        ratios.append(Ratio(name, statistics.median(values), low, high))
    return ratios


def print_table(title: str, ratios: list[Ratio]) -> None:
    print(f"\n{title}\n\n| | speed | quartiles |\n|---|---:|---:|")
    for ratio in ratios:
        print(ratio.row())
