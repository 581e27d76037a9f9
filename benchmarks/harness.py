"""Tables for the scripts beside this file; the timing is that of `endofm benchmark`."""

from __future__ import annotations

from collections.abc import Mapping

from endofm.benchmark.timing import Ratio, compare

__all__ = ["Ratio", "compare", "print_table"]


def print_table(title: str, ratios: Mapping[str, Ratio]) -> None:
    print(f"\n{title}\n\n| | speed | quartiles |\n|---|---:|---:|")
    for name, ratio in ratios.items():
        print(f"| {name} | {ratio.median:.2f}x | {ratio.low:.2f} - {ratio.high:.2f} |")
