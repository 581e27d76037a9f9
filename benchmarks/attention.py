"""Attention on the CPU, against PyTorch's fused kernel, for the shapes of the encoders.

``python -m benchmarks attention`` prints how many times faster than the fused kernel (median and quartiles over rounds)
the compiled kernels are, and the combination of PyTorch's operators that replaces them where they are missing; with the
encoder's memory layout of tokens, at one thread and at several. Then, the gain of the compiled kernels in a complete
clip of the base encoder, at every precision.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from functools import partial
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.encoder_rows import available_precisions
from benchmarks.timing import gains
from endofm.config import EncoderConfig
from endofm.kernels import native
from endofm.kernels.composed_attention import SHORT, matmul_attention, short_attention
from endofm.kernels.precision import effective_precision
from endofm.models.encoder import VideoTransformer

_SHAPES = {  # frames x clips, tokens of a frame, over time or over space
    "time, 8 frames": (8, 197, True),
    "time, 16 frames": (16, 197, True),
    "time, 8 frames, 4 clips": (8, 788, True),
    "space, 8 frames": (8, 197, False),
    "space, 2 frames of 384 pixels": (2, 577, False),
}
_HEADS, _HEAD_DIM = 12, 64

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]


def main(arguments: list[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks attention", description=__doc__)
    parser.add_argument("--rounds", type=int, default=30, help="of the kernels alone")
    parser.add_argument("--clip-rounds", type=int, default=15, help="of whole clips")
    args = parser.parse_args(arguments)
    if missing := native.why_no_attention():
        print(f"no compiled kernels: {missing}")
    for threads in sorted({1, os.cpu_count() or 1}):
        torch.set_num_threads(threads)
        _kernels_alone(threads, args.rounds)
    if native.why_no_attention() is None:
        for threads in sorted({1, os.cpu_count() or 1}):
            torch.set_num_threads(threads)
            _whole_clips(threads, args.clip_rounds)


def _kernels_alone(threads: int, rounds: int) -> None:
    # Emulated, bfloat16 would take minutes and is never used.
    faster = effective_precision("bfloat16", torch.device("cpu")) == "bfloat16"
    for dtype in (torch.float32, torch.bfloat16) if faster else (torch.float32,):
        for name, (frames, tokens, over_time) in _SHAPES.items():
            qkv = torch.randn(frames, tokens, 3, _HEADS, _HEAD_DIM).to(dtype)
            parts = qkv.permute((2, 1, 3, 0, 4) if over_time else (2, 0, 3, 1, 4)).unbind(0)
            order = (2, 0, 1, 3) if over_time else (0, 2, 1, 3)
            kernels: dict[str, Attend] = {"fused": F.scaled_dot_product_attention}
            if dtype is torch.bfloat16:
                kernels["operators"] = lambda q, k, v: matmul_attention(q * _HEAD_DIM**-0.5, k, v)
            elif parts[0].shape[2] <= SHORT:
                kernels["operators"] = short_attention
            if native.attention_fits(*parts):
                kernels["compiled"] = native.attend
            work = {key: partial(_join, kernel, order, *parts) for key, kernel in kernels.items()}
            found = [f"{key} {text}" for key, text in gains(work, threads, rounds).items()]
            print(f"{threads} threads, {str(dtype).removeprefix('torch.')}, {name}: {', '.join(found)}", flush=True)


def _whole_clips(threads: int, rounds: int) -> None:
    model = VideoTransformer(EncoderConfig()).eval()
    clip = torch.randn(1, 3, 8, 224, 224)

    def without() -> Tensor:
        with patch.object(native, "_attention_kernels", lambda: "left out"):
            return model(clip)

    for precision in available_precisions():
        model.precision = precision
        found = gains({"without": without, "compiled": partial(model, clip)}, threads, rounds)
        print(f"{threads} threads, whole clip, {precision}: compiled {found['compiled']}", flush=True)


def _join(attend: Attend, order: tuple[int, ...], q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return attend(q, k, v).permute(order).flatten(2)
