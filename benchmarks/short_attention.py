"""Attention over time on the processor: groups of sequences against the fused kernel, for the shapes of the encoders.

``python benchmarks/short_attention.py`` prints how many times faster
:func:`~endofm.layers.attention_kernels.short_attention` is than PyTorch's fused kernel (median and quartiles over
rounds in turn), with the layout of the tokens that the encoder has, at one thread and at several.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from endofm.benchmark.timing import compare
from endofm.layers.attention_kernels import short_attention

_SHAPES = {"base, 8 frames": (8, 197, 12), "base, 16 frames": (16, 197, 12), "base, 4 clips": (8, 788, 12)}
_HEAD_DIM = 64


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=50)
    rounds = parser.parse_args().rounds
    for threads in sorted({1, os.cpu_count() or 1}):
        torch.set_num_threads(threads)
        for name, (frames, positions, heads) in _SHAPES.items():
            qkv = torch.randn(frames, positions, 3, heads, _HEAD_DIM)
            q, k, v = qkv.permute(2, 1, 3, 0, 4).unbind(0)
            candidates = {
                "fused": partial(_join, F.scaled_dot_product_attention, q, k, v),
                "groups": partial(_join, short_attention, q, k, v),
            }
            with torch.inference_mode():
                clock = time.process_time if threads == 1 else time.perf_counter
                found = compare(candidates, rounds=rounds, clock=clock, warm_up=3)["groups"]
            print(f"{threads} threads, {name}: {found.median:.2f}x ({found.low:.2f}x - {found.high:.2f}x)", flush=True)


def _join(attend: Callable[[Tensor, Tensor, Tensor], Tensor], q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    heads = attend(q, k, v)
    return heads.permute(2, 0, 1, 3).flatten(2)


if __name__ == "__main__":
    main()
