"""Batches on the CPU: split as inference splits them, and one clip at a time, against all at once.

``python -m benchmarks batches`` prints how many times faster each is (median and quartiles over rounds), for the
base encoder at every precision, at one thread and at several.
"""

from __future__ import annotations

import argparse
import os
import time
from unittest.mock import patch

import torch
from torch import Tensor

from benchmarks.encoder_rows import available_precisions
from benchmarks.timing import compare
from endofm.config import EncoderConfig
from endofm.kernels import backend
from endofm.models.encoder import VideoTransformer


def main(arguments: list[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks batches", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=4)
    args = parser.parse_args(arguments)
    model = VideoTransformer(EncoderConfig()).eval()
    clips = torch.randn(args.batch_size, 3, 8, 224, 224)

    def at_once() -> Tensor:
        with patch.object(backend, "_LARGE", 2**62):
            return model(clips)

    def one_by_one() -> Tensor:
        return torch.cat([model(clip[None]) for clip in clips])

    candidates = {"at once": at_once, "in parts": lambda: model(clips), "one by one": one_by_one}
    for threads in sorted({1, os.cpu_count() or 1}):
        torch.set_num_threads(threads)
        for precision in available_precisions():
            model.precision = precision
            with torch.inference_mode():
                clock = time.process_time if threads == 1 else time.perf_counter
                found = compare(candidates, rounds=args.rounds, clock=clock)
            texts = [f"{key} {r.median:.2f}x ({r.low:.2f}x - {r.high:.2f}x)" for key, r in found.items()][1:]
            print(f"{threads} threads, {args.batch_size} clips, {precision}: {', '.join(texts)}", flush=True)
