"""Runs the campaign and prints a table of outcomes.

``python -m benchmarks.robustness --cases 10000 --kinds videos weights`` attacks with ten thousand damaged videos and as
many weight files; the exit status is 1 if any attack ended in a foreign exception, a crash, no end, memory or silent
damage. Every attack depends on ``--seed`` and its number alone, so a row of the list of failures can be repeated. With
``--results FILE`` every outcome is written as it comes, and the same command continues an interrupted campaign.
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import os
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from benchmarks.robustness.results_file import ResultsFile
from benchmarks.robustness.sandbox import FAILURES, Outcome, Result, run_cases

KINDS = ("videos", "images", "weights", "files", "numbers", "names", "lists", "hub", "kills")


def main() -> int:
    """Run the campaign; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.robustness", description=__doc__)
    parser.add_argument("--cases", type=int, default=1000, help="attacks of each kind (default: %(default)s)")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS, help="what to attack")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="attacks at the same time")
    parser.add_argument("--seconds", type=float, default=60.0, help="time limit of one attack")
    parser.add_argument("--results", type=Path, help="write every outcome to this file of JSON lines; rerun to resume")
    args = parser.parse_args()

    began = time.monotonic()
    table: dict[str, Counter[Outcome]] = defaultdict(Counter)
    failures: list[Result] = []
    with tempfile.TemporaryDirectory(prefix="robustness-", ignore_cleanup_errors=True) as scratch:
        tempfile.tempdir = scratch  # Attacks that are killed cannot remove their files.
        try:
            for result in _outcomes(args):
                table[result.kind][result.outcome] += 1
                if result.outcome in FAILURES:
                    failures.append(result)
            complete = True
        except KeyboardInterrupt:
            complete = False
    print(format_table(table))
    for result in failures[:100]:
        print(f"{result.outcome.value}: {result.kind}, {result.name}: {result.detail}")
    total = sum(sum(row.values()) for row in table.values())
    print(f"\n{total} attacks in {time.monotonic() - began:.0f} s, {len(failures)} failures, seed {args.seed}")
    if not complete:
        print("interrupted; the same command continues" if args.results else "interrupted")
    return 0 if complete and not failures else 1


def _outcomes(args: argparse.Namespace) -> Iterator[Result]:
    """Yield the results of all kinds, those of an earlier run among them."""
    file = ResultsFile(args.results)
    for kind in args.kinds:
        module = importlib.import_module(f"benchmarks.robustness.{kind}")
        cases = itertools.islice(module.cases(args.cases, args.seed), args.cases)
        known, remaining = file.known(cases)
        for number, result in enumerate(run_cases(remaining, jobs=args.jobs, seconds=args.seconds), 1):
            file.add(result)
            if sys.stderr.isatty():
                print(f"\r{kind}: {number + len(known)} of {args.cases}", end="", file=sys.stderr)
            yield result
        yield from known


def format_table(table: dict[str, Counter[Outcome]]) -> str:
    """Return the outcomes as a Markdown table, one row a kind of target."""
    lines = ["| target | " + " | ".join(outcome.value for outcome in Outcome) + " |"]
    lines.append("|---|" + "---:|" * len(Outcome))
    for kind, row in sorted(table.items()):
        lines.append(f"| {kind} | " + " | ".join(str(row[outcome]) for outcome in Outcome) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
