"""Every precision of every task against exact results, with the packaged weights and the demo video.

``python -m benchmarks precisions`` prints how many times faster than exact each is, of whole passes over the video and
with reading it. A precision that is not used on this processor computes exact results and takes their time; none may be
slower.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch

import endofm
from benchmarks.timing import compare
from endofm.errors import EndoFMWarning
from endofm.kernels.int8 import can_multiply_int8

_SLOWER = 0.9
"""Times as fast as exact below which a precision is slower: passes of the same work differ by some percent."""

_TASKS: dict[str, tuple[Any, str, dict[str, Any]]] = {
    "features, base": (endofm.EndoFM, "endofm-base-8x224-random", {"window_seconds": 10}),
    "features, nano": (endofm.EndoFM, "endofm-nano-4x96", {"window_seconds": 0.5}),
    "classes, nano": (endofm.EndoFMForVideoClassification, "endofm-nano-organs", {"window_seconds": 0.5}),
    "boxes, nano": (endofm.EndoFMForDetection, "endofm-nano-polyp-boxes", {"frame_stride": 4}),
    "masks, nano": (endofm.EndoFMForSegmentation, "endofm-nano-polyp-masks", {"frame_stride": 4}),
    "masks, hybrid": (endofm.EndoFMForSegmentation, "endofm-segmentation-base-random", {"frame_stride": 80}),
}


def main(arguments: list[str]) -> int:
    """Print the table; the status is 1 if a precision is slower than exact."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks precisions", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tasks", nargs="+", choices=_TASKS, default=list(_TASKS), help="default: all")
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", EndoFMWarning)
    precisions = ["exact", "bfloat16", *(["int8"] if can_multiply_int8() else []), "auto"]
    print("| | seconds, exact | " + " | ".join(precisions[1:]) + " |\n|---|---:|" + "---:|" * (len(precisions) - 1))
    slower = False
    for name in args.tasks:
        kind, weights, options = _TASKS[name]
        model = kind.from_pretrained(weights)
        ratios = compare(
            {precision: _passes(model, precision, options) for precision in precisions},
            rounds=args.rounds,
            clock=time.process_time,
        )
        cells = [f"{r.median:.2f}x ({r.low:.2f}x - {r.high:.2f}x)" for key, r in ratios.items() if key != "exact"]
        print(f"| {name} | {ratios['exact'].seconds:.2f} | " + " | ".join(cells) + " |", flush=True)
        slower |= any(ratio.median < _SLOWER for ratio in ratios.values())
    return int(slower)


def _passes(model: Any, precision: str, options: dict[str, Any]) -> Callable[[], object]:
    run = model.extract_features if isinstance(model, endofm.EndoFM) else model.predict
    return lambda: run(endofm.demo_video(), precision=precision, progress=False, **options)
