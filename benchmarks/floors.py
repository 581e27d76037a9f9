"""Every claim about speed and memory, measured against its floor and its goal.

Compared with a plain restatement of the published block (``reference.py``); the exit status is 1 if a floor is not met.
``endofm benchmark`` is the command for users, who want to know how fast their own machine is.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import platform
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch

from benchmarks import encoder_rows, process_rows, training_rows, video_rows
from benchmarks.table import Row, as_json, as_markdown
from endofm import EndoFM
from endofm.errors import InputError, UntrainedWeightsWarning
from endofm.files import atomic_path
from endofm.kernels import native, native_products
from endofm.kernels.precision import Precision

PARTS = ("encoder", "video", "process", "training", "gpu")


def main(arguments: list[str]) -> int:
    """Print the table; the status is 1 if a floor is not met."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks floors", description=__doc__)
    parser.add_argument(
        "--weights",
        default="endofm-base-8x224-random",
        help="model to measure (default: the base size, random weights)",
    )
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="parts of the table (default: all)")
    parser.add_argument("--rounds", type=int, metavar="N", help="rounds per comparison (default: 7; 3 if --quick)")
    parser.add_argument("--threads", type=int, default=2, metavar="N", help="threads of the second row (default: 2)")
    parser.add_argument("--minutes", type=float, metavar="N", help="length of the long files instead of 10 and 60")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, long files of 1 minute")
    parser.add_argument("--json", metavar="FILE", help="also write the results to a file; - for standard output only")
    parser.add_argument("--local-files-only", action="store_true", help="never touch the network")
    args = parser.parse_args(arguments)
    for name in ("rounds", "threads", "minutes"):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise InputError(f"--{name} must be at least 1, got {value}")
    rows, details = measure(args)
    report = json.dumps(as_json(rows, details), indent=2)
    if args.json == "-":
        print(report)
    else:
        print(as_markdown(rows))
        for name, part in details.items():
            print(f"\n{name}: {json.dumps(part)}")
        if args.json:
            with atomic_path(Path(args.json)) as temporary:
                temporary.write_text(report + "\n", encoding="utf-8")
    return int(any(row.verdict == "not met" for row in rows))


def measure(args: argparse.Namespace) -> tuple[list[Row], dict[str, Any]]:
    """Measure the selected parts."""
    rounds = args.rounds or (3 if args.quick else 7)
    rows: list[Row] = []
    details: dict[str, Any] = {"machine": _machine(), "weights": args.weights, "rounds": rounds}
    models = (
        load_models(args.weights, local_files_only=args.local_files_only)
        if {"encoder", "training", "gpu"} & set(args.only)
        else {}
    )
    clip_seconds = None
    if "encoder" in args.only:
        _announce("encoder")
        encoder, details["encoder"] = encoder_rows.encoder_rows(models, rounds=rounds, threads=args.threads)
        _add(rows, *encoder)
        seconds = details["encoder"]["threads_1"]["seconds"]
        clip_seconds = seconds.get("bfloat16", seconds["exact"])
    with tempfile.TemporaryDirectory(prefix="endofm-benchmark-") as name:
        folder = Path(name)
        if {"video", "process"} & set(args.only):
            _announce("preprocessing")
            preprocessing, frame_seconds = video_rows.preprocessing_rows(folder, rounds=rounds)
            frames = models["exact"].num_frames if models else 8
            _add(rows, *(preprocessing if "video" in args.only else []))
        if "video" in args.only:
            _announce("sparse reading")
            _add(rows, video_rows.sparse_row(folder, minutes=args.minutes or (1 if args.quick else 10)))
            if clip_seconds is not None:
                _add(rows, video_rows.share_row(frame_seconds, clip_seconds, frames, exact="bfloat16" not in models))
        if "process" in args.only:
            _announce("import and memory")
            _add(rows, process_rows.import_row(rounds=rounds))
            _add(rows, process_rows.memory_row(folder, minutes=args.minutes or (1 if args.quick else 60)))
    if "gpu" in args.only:
        _add(rows, encoder_rows.gpu_row(models["exact"], rounds=rounds))
    if "training" in args.only:
        _announce("training")
        _add(rows, training_rows.training_row(models["exact"], rounds=rounds))
    return rows, details


def load_models(weights: str, *, local_files_only: bool = False) -> dict[Precision, EndoFM]:
    """Return the model at every precision; random weights get noise, so that none of them is zero."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UntrainedWeightsWarning)
        exact = EndoFM.from_pretrained(weights, local_files_only=local_files_only)
    if not exact.config.trained:
        torch.manual_seed(0)
        with torch.no_grad():
            for parameter in exact.parameters():
                parameter.add_(0.02 * torch.randn_like(parameter))
    models: dict[Precision, EndoFM] = {}
    for precision in encoder_rows.available_precisions():
        model = exact if precision == "exact" else copy.deepcopy(exact)
        model.precision = precision
        models[precision] = model
    return models


def _machine() -> dict[str, Any]:
    return {
        "processor": f"{platform.machine()}, {os.cpu_count()} cores, {torch.backends.cpu.get_cpu_capability()}",
        "compiled attention": native.why_no_attention() or "yes",
        "float32 through the matrix unit": native_products.why_no_split() or "yes",
        "float32 through AVX2": "yes" if native_products.panels_are_widest() else "no",
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def _add(rows: list[Row], *new: Row) -> None:
    """Keep rows and print them at once: the whole table takes minutes."""
    rows += new
    for row in new:
        print("benchmarks: " + "; ".join(cell for cell in row.cells() if cell), file=sys.stderr)


def _announce(part: str) -> None:
    print(f"benchmarks: measuring: {part}", file=sys.stderr)
