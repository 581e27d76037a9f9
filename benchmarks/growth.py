"""Time and memory against the amount of work, each with its fitted and its expected exponent.

    python -m benchmarks growth --json growth.json --plot docs/images/growth.png

Every point is a process of its own at one thread: CPU seconds of the work alone, and the most memory that it needed
above what was there before. The exponent is the slope of the logarithms over the larger half of the points: 1 is
proportional, 0 constant. A busy machine changes seconds, and exponents little.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import statistics
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.growth_work import Cost, encode, extract, nearest_rows, probe_rows, search_library, train_with_workers
from endofm.files import atomic_path, require_writable


@dataclass(frozen=True)
class Curve:
    """A quantity of work that grows, with the expected exponents.

    Attributes:
        title: The work.
        axis: What grows.
        sizes: Points, ascending.
        measure: Returns the cost at a size.
        expected: Exponents of time and memory that follow from the algorithm, in words.
    """

    title: str
    axis: str
    sizes: Sequence[float]
    measure: Callable[[float], Cost]
    expected: str


def _frames(size: float) -> Cost:
    return encode(frames=int(size))


def _side(size: float) -> Cost:
    return encode(side=int(size))


def _batch(size: float) -> Cost:
    return encode(batch=int(size))


_ROWS = (1e3, 1e4, 1e5, 1e6)
CURVES = {
    "frames": Curve("encoder", "frames", (4, 8, 16, 32, 64), _frames, "1 to 1.1; a part of attention is quadratic"),
    "side": Curve(
        "encoder", "pixels a side", (64, 128, 224, 320, 448), _side, "2, tokens; above it attention, quadratic in them"
    ),
    "batch": Curve("encoder", "clips at once", (1, 2, 4, 8, 16), _batch, "1, memory less: batches go in parts"),
    "hours": Curve("extraction", "hours of video", (0.05, 0.1, 0.2, 0.4, 0.8), extract, "1, memory 0"),
    "knn": Curve("k-NN, 1,000 queries", "rows", _ROWS, nearest_rows, "1, memory 0 (bounded)"),
    "probe": Curve("linear probe", "rows", _ROWS, probe_rows, "1 a step; the number of steps changes with the data"),
    "library": Curve("library, 20 searches", "rows", _ROWS, search_library, "1 without an index, less with one"),
    "workers": Curve("training", "data workers", (1, 2, 4), train_with_workers, "0: the same work, divided"),
}


def main(arguments: list[str]) -> None:
    """Measure and print a table; write results and figure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks growth", description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=CURVES, default=list(CURVES), help="curves (default: all)")
    parser.add_argument("--points", type=int, metavar="N", help="only the first points of each curve")
    parser.add_argument("--rounds", type=int, default=3, help="times that a point is measured; the median counts")
    parser.add_argument("--json", type=Path, help="file of results; what it holds of other curves stays")
    parser.add_argument("--plot", type=Path, help="PNG of the curves")
    args = parser.parse_args(arguments)
    found: dict[str, list[dict[str, float]]] = {}
    if args.json:
        require_writable(args.json)
        found = json.loads(args.json.read_text(encoding="utf-8")) if args.json.exists() else {}
    for name in args.only:
        curve = CURVES[name]
        found[name] = []
        for size in curve.sizes[: args.points]:
            costs = [_apart(curve.measure, size) for _ in range(args.rounds)]
            cost = Cost(statistics.median(c.seconds for c in costs), statistics.median(c.megabytes for c in costs))
            found[name].append({"size": size, **asdict(cost)})
            print(f"benchmarks: {name} {size:g}: {cost.seconds:.3g} s, {cost.megabytes:.0f} MB", file=sys.stderr)
        if args.json:
            with atomic_path(args.json) as temporary:
                temporary.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(as_markdown(found))
    if args.plot:
        plot(found, args.plot)


def _apart(measure: Callable[[float], Cost], size: float) -> Cost:
    """Run a measurement in a new process, whose memory no other point has touched."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measure, size).result()


def exponent(points: Sequence[tuple[float, float]]) -> float | None:
    """Return the slope of log(value) over log(size) by least squares; None for fewer than two positive values."""
    logs = [(math.log(size), math.log(value)) for size, value in points if value > 0]
    if len(logs) < 2:
        return None
    slope, _ = statistics.linear_regression(*zip(*logs, strict=True))
    return slope


def fitted(points: Sequence[dict[str, float]], key: str) -> float | None:
    """Return the exponent over the larger half of the points, where constant costs no longer hide the growth."""
    larger = points[-max(2, (len(points) + 1) // 2) :]
    # Less than a megabyte is what the allocator happens to keep.
    least = 1.0 if key == "megabytes" else 0.0
    return exponent([(point["size"], point[key]) for point in larger if point[key] >= least])


def as_markdown(found: dict[str, list[dict[str, float]]]) -> str:
    """Return measured points and exponents as a table."""
    lines = [
        "| work | over | points: CPU seconds (MB) | exponent of time | of memory | expected |",
        "|---|---|---|---:|---:|---|",
    ]
    for name, points in found.items():
        curve = CURVES[name]
        shown = ", ".join(f"{p['size']:,.10g}: {p['seconds']:.3g} ({p['megabytes']:.0f})" for p in points)
        slopes = ["" if (slope := fitted(points, key)) is None else f"{slope:.2f}" for key in ("seconds", "megabytes")]
        lines.append(f"| {curve.title} | {curve.axis} | {shown} | {slopes[0]} | {slopes[1]} | {curve.expected} |")
    return "\n".join(lines)


def plot(found: dict[str, list[dict[str, float]]], path: Path) -> None:
    """Draw the curves, time and memory, on logarithmic axes."""
    from matplotlib.figure import Figure

    columns = 4
    rows = -(-len(found) // columns)
    figure = Figure(figsize=(3.4 * columns, 2.9 * rows), layout="constrained")
    for position, (name, points) in enumerate(found.items(), 1):
        curve, axes = CURVES[name], figure.add_subplot(rows, columns, position)
        sizes = [point["size"] for point in points]
        slope = fitted(points, "seconds")
        label = "CPU seconds" if slope is None else f"CPU seconds, exponent {slope:.2f}"
        axes.loglog(sizes, [point["seconds"] for point in points], "o-", color="tab:blue", label=label)
        memory = [point["megabytes"] if point["megabytes"] >= 1 else 0.1 for point in points]
        axes.loglog(sizes, memory, "s--", color="tab:orange", label="MB above the start", markersize=4)
        axes.set_title(curve.title, fontsize=10)
        axes.set_xlabel(curve.axis, fontsize=9)
        axes.minorticks_off()
        axes.set_xticks(sizes, [f"{size:,.10g}" for size in sizes])
        axes.tick_params(labelsize=8)
        axes.legend(fontsize=7)
        axes.grid(alpha=0.3)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)
