"""What the scripts beside this file share; the timing is that of `endofm benchmark`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import torch

from endofm.benchmark.timing import Ratio, compare

__all__ = ["Ratio", "compare", "gains", "print_table"]


def print_table(title: str, ratios: Mapping[str, Ratio]) -> None:
    print(f"\n{title}\n\n| | speed | quartiles |\n|---|---:|---:|")
    for name, ratio in ratios.items():
        print(f"| {name} | {ratio.median:.2f}x | {ratio.low:.2f} - {ratio.high:.2f} |")


def gains(candidates: Mapping[str, Callable[[], object]], threads: int, rounds: int) -> dict[str, str]:
    """Return in words what each candidate but the first gains over that, without gradients.

    Args:
        candidates: Name to a function that does the work once.
        threads: How many the work has; CPU seconds count at one, wall time at several.
        rounds: How often each runs.
    """
    with torch.inference_mode():
        clock = time.process_time if threads == 1 else time.perf_counter
        found = compare(candidates, rounds=rounds, clock=clock, warm_up=2)
    return {key: f"{r.median:.2f}x ({r.low:.2f}x - {r.high:.2f}x)" for key, r in list(found.items())[1:]}
