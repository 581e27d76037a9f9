"""``endofm benchmark``: measure how fast a model runs on this machine."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from endofm.cli.model_arguments import configure_weights

if TYPE_CHECKING:
    from endofm.benchmark import Measurement
    from endofm.tasks.features.model import EndoFM

SUMMARY = "measure clips per second, decoding and memory on this machine"
EXAMPLES = (
    "endofm benchmark",
    "endofm benchmark --weights endofm-nano-4x96",
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    configure_weights(parser, default="endofm-base-8x224-random")
    parser.add_argument("--device", help="cpu, cuda, cuda:1, mps (default: cpu)")
    parser.add_argument("--batch-size", type=int, default=1, metavar="N", help="clips per forward pass (default: 1)")
    parser.add_argument(
        "--threads", type=int, nargs="+", metavar="N", help="thread counts on a CPU (default: 1 and all cores)"
    )
    parser.add_argument(
        "--seconds", type=float, default=5, metavar="S", help="time limit of each measurement (default: 5)"
    )
    parser.add_argument("--video", metavar="FILE", help="video to decode (default: a rendered one, 1920 x 1080)")
    parser.add_argument("--json", metavar="FILE", help="also write the measurements to a file; - for JSON output only")
    parser.add_argument("--local-files-only", action="store_true", help="never touch the network")


def run(args: argparse.Namespace) -> int:
    """Print each measurement as soon as it is done."""
    from dataclasses import asdict

    import torch

    from endofm.benchmark import Benchmark
    from endofm.errors import InputError
    from endofm.files import atomic_path, require_writable

    threads = args.threads or sorted({1, torch.get_num_threads()})
    for name, values in (("threads", threads), ("batch-size", [args.batch_size])):
        if min(values) < 1:
            raise InputError(f"--{name} must be at least 1, got {min(values)}")
    if not args.seconds > 0:
        raise InputError(f"--seconds must be greater than 0, got {args.seconds:g}")
    if args.json and args.json != "-":
        require_writable(args.json)
    benchmark = Benchmark(
        model=_load(args),
        threads=tuple(threads),
        batch_size=args.batch_size,
        seconds=args.seconds,
        video=None if args.video is None else Path(args.video),
    )
    # With --json -, standard output is for JSON.
    stream = sys.stderr if args.json == "-" else sys.stdout
    print(f"endofm: measuring {args.weights}\n{benchmark.describe()}\n", file=sys.stderr)
    measurements: list[Measurement] = []
    for measurement in benchmark.run():
        print(measurement, file=stream, flush=True)
        measurements.append(measurement)
    report = json.dumps({"weights": args.weights, "measurements": [asdict(m) for m in measurements]}, indent=2)
    if args.json == "-":
        print(report)
    elif args.json:
        with atomic_path(Path(args.json)) as temporary:
            temporary.write_text(report + "\n", encoding="utf-8")
    return 0


def _load(args: argparse.Namespace) -> EndoFM:
    import warnings

    from endofm import EndoFM
    from endofm.errors import UntrainedWeightsWarning

    with warnings.catch_warnings():
        # Random weights are as fast as trained ones.
        warnings.simplefilter("ignore", UntrainedWeightsWarning)
        return EndoFM.from_pretrained(args.weights, device=args.device, local_files_only=args.local_files_only)
