"""``endofm benchmark``: how fast this is on the machine at hand, with the floor and the goal of every claim."""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from endofm.benchmark.table import Row
    from endofm.kernels.precision import Precision
    from endofm.tasks.features.model import EndoFM

SUMMARY = "measure speed and memory on this machine against the plain computation"
PARTS = ("encoder", "video", "process", "training", "gpu")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "--weights",
        default="endofm-base-8x224-random",
        help="model to measure (default: the base size, random weights)",
    )
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="parts of the table (default: all)")
    parser.add_argument("--rounds", type=int, metavar="N", help="rounds per comparison (default: 7; 3 if --quick)")
    parser.add_argument("--threads", type=int, default=2, metavar="N", help="threads of the second row (default: 2)")
    parser.add_argument("--minutes", type=float, metavar="N", help="length of the long files instead of 10 and 60")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, long files of 1 minute: a first look")
    parser.add_argument(
        "--json", metavar="FILE", help="also write what was found to a file, - for standard output alone"
    )
    parser.add_argument("--local-files-only", action="store_true", help="never touch the network")


def run(args: argparse.Namespace) -> int:
    """Print the table; the status is 1 if a floor is not met."""
    from endofm.benchmark.table import as_json, as_markdown
    from endofm.errors import InputError
    from endofm.files import atomic_path

    for name in ("rounds", "threads", "minutes"):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise InputError(f"--{name} must be at least 1, got {value}")
    rows, details = measure(args)
    text = json.dumps(as_json(rows, details), indent=2)
    if args.json == "-":
        print(text)
    else:
        print(as_markdown(rows))
        for name, part in details.items():
            print(f"\n{name}: {json.dumps(part)}")
        if args.json:
            with atomic_path(Path(args.json)) as temporary:
                temporary.write_text(text + "\n", encoding="utf-8")
    return int(any(row.verdict == "not met" for row in rows))


def measure(args: argparse.Namespace) -> tuple[list[Row], dict[str, Any]]:
    """Run the parts asked for."""
    from endofm.benchmark import encoder, process, training, video

    rounds = args.rounds or (3 if args.quick else 7)
    rows: list[Row] = []
    details: dict[str, Any] = {"machine": _machine(), "weights": args.weights, "rounds": rounds}
    models = _models(args) if {"encoder", "training", "gpu"} & set(args.only) else {}
    clip_seconds = None
    if "encoder" in args.only:
        _say("encoder")
        found, details["encoder"] = encoder.encoder_rows(models, rounds=rounds, threads=args.threads)
        _add(rows, *found)
        clip_seconds = details["encoder"]["threads_1"]["seconds"]["bfloat16"]
    with tempfile.TemporaryDirectory(prefix="endofm-benchmark-") as name:
        folder = Path(name)
        if {"video", "process"} & set(args.only):
            _say("preprocessing")
            found, frame_seconds = video.preprocessing_rows(folder, rounds=rounds)
            frames = models["exact"].num_frames if models else 8
            _add(rows, *(found if "video" in args.only else []))
        if "video" in args.only:
            _say("sparse reading")
            _add(rows, video.sparse_row(folder, minutes=args.minutes or (1 if args.quick else 10)))
            if clip_seconds is not None:
                _add(rows, video.share_row(frame_seconds, clip_seconds, frames))
        if "process" in args.only:
            _say("import and memory")
            _add(rows, process.import_row(rounds=rounds))
            _add(rows, process.memory_row(folder, minutes=args.minutes or (1 if args.quick else 60)))
    if "gpu" in args.only:
        _add(rows, encoder.gpu_row(models["exact"], rounds=rounds))
    if "training" in args.only:
        _say("training")
        _add(rows, training.training_row(models["exact"], rounds=rounds))
    return rows, details


def _models(args: argparse.Namespace) -> dict[Precision, EndoFM]:
    """Return the model at every precision; random weights are stirred, so that no part of them is zero."""
    import copy
    import warnings

    import torch

    from endofm import EndoFM
    from endofm.benchmark.encoder import precisions_here
    from endofm.errors import UntrainedWeightsWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UntrainedWeightsWarning)
        exact = EndoFM.from_pretrained(args.weights, local_files_only=args.local_files_only)
    if not exact.config.trained:
        torch.manual_seed(0)
        with torch.no_grad():
            for parameter in exact.parameters():
                parameter.add_(0.02 * torch.randn_like(parameter))
    models: dict[Precision, EndoFM] = {}
    for precision in precisions_here():
        model = exact if precision == "exact" else copy.deepcopy(exact)
        model.precision = precision
        models[precision] = model
    return models


def _machine() -> dict[str, Any]:
    import os

    import torch

    from endofm.kernels import native

    return {
        "processor": f"{platform.machine()}, {os.cpu_count()} cores, {torch.backends.cpu.get_cpu_capability()}",
        "compiled attention": native.why_no_attention() or "yes",
        "float32 through the matrix unit": native.why_no_products() or "yes",
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def _add(rows: list[Row], *found: Row) -> None:
    """Keep rows, and show at once what took minutes to find."""
    rows += found
    for row in found:
        print("endofm: " + "; ".join(cell for cell in row.cells() if cell), file=sys.stderr)


def _say(what: str) -> None:
    print(f"endofm: measuring: {what}", file=sys.stderr)
