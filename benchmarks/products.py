"""Float32 products on the CPU: prepacked, and split for the matrix unit, against plain ones.

``python -m benchmarks products`` prints, for the linear layers of a clip of the base encoder, how many times faster
than ``F.linear`` (median and quartiles over rounds) each backend is, at one thread and at several, and its error
against float64 relative to that of ``F.linear``. Then, the gain of splitting in a complete clip.
"""

from __future__ import annotations

import argparse
import os
from functools import partial
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.timing import gains
from endofm.config import EncoderConfig
from endofm.kernels import native, precision
from endofm.kernels.backend import AmxFloat32Backend, FoldedBackend, OneDnnBackend, can_prepack
from endofm.kernels.native import products_available
from endofm.models.encoder import VideoTransformer

_ROWS = 8 * 197
_SHAPES = {"qkv": (768, 2304), "projection": (768, 768), "fc1 with GELU": (768, 3072), "fc2": (3072, 768)}


def main(arguments: list[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks products", description=__doc__)
    parser.add_argument("--rounds", type=int, default=30, help="of the products alone")
    parser.add_argument("--clip-rounds", type=int, default=15, help="of whole clips")
    args = parser.parse_args(arguments)
    if missing := native.why_no_products():
        print(f"no split products: {missing}")
    for threads in sorted({1, os.cpu_count() or 1}):
        torch.set_num_threads(threads)
        _products_alone(threads, args.rounds)
    if products_available():
        for threads in sorted({1, os.cpu_count() or 1}):
            torch.set_num_threads(threads)
            _whole_clips(threads, args.clip_rounds)


def _products_alone(threads: int, rounds: int) -> None:
    ways: dict[str, FoldedBackend] = {"plain": FoldedBackend()}
    ways |= {"prepacked": OneDnnBackend(torch.float32)} if can_prepack(torch.float32) else {}
    ways |= {"split": AmxFloat32Backend()} if products_available() else {}
    for name, (inputs, outputs) in _SHAPES.items():
        layer, x = nn.Linear(inputs, outputs), torch.randn(_ROWS, inputs)
        gelu = "GELU" in name
        wanted = F.linear(x.double(), layer.weight.double(), layer.bias.double())
        wanted = F.gelu(wanted) if gelu else wanted
        work = {key: partial(way.linear, x, layer, gelu=gelu) for key, way in ways.items()}
        with torch.no_grad():
            error = {key: float((run() - wanted).square().mean().sqrt()) for key, run in work.items()}
        speed = gains(work, threads, rounds)
        found = [f"{key} {text}, error {error[key] / error['plain']:.2f}x" for key, text in speed.items()]
        print(f"{threads} threads, {name}, {inputs} to {outputs}: {'; '.join(found)}", flush=True)


def _whole_clips(threads: int, rounds: int) -> None:
    split = VideoTransformer(EncoderConfig()).eval()
    clip = torch.randn(1, 3, 8, 224, 224)
    packed = VideoTransformer(EncoderConfig()).eval()
    packed.load_state_dict(split.state_dict())
    with torch.inference_mode(), patch.object(precision, "products_available", lambda: False):
        packed(clip)  # The backend is selected once per model.
    found = gains({"prepacked": partial(packed, clip), "split": partial(split, clip)}, threads, rounds)
    print(f"{threads} threads, whole clip, against prepacked: split {found['split']}", flush=True)
