"""Float32 products on the CPU: prepacked, split for the matrix unit, or in panels for AVX2, against plain ones.

``python -m benchmarks products`` prints, for the linear layers of a clip of the base encoder, how many times faster
than ``F.linear`` (median and quartiles over rounds) each backend is, at one thread and at several, and its error
against float64 relative to that of ``F.linear``. Then, the gain of our own kernels in a complete clip.
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
from endofm.kernels import precision
from endofm.kernels.backend import FoldedBackend, OneDnnBackend, can_prepack
from endofm.kernels.float32 import AmxFloat32Backend, PanelFloat32Backend
from endofm.kernels.native_products import panels_are_widest, split_available, why_no_split
from endofm.models.encoder import VideoTransformer

_ROWS = 8 * 197
_SHAPES = {"qkv": (768, 2304), "projection": (768, 768), "fc1 with GELU": (768, 3072), "fc2": (3072, 768)}


def main(arguments: list[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks products", description=__doc__)
    parser.add_argument("--rounds", type=int, default=30, help="of the products alone")
    parser.add_argument("--clip-rounds", type=int, default=15, help="of whole clips")
    args = parser.parse_args(arguments)
    if missing := why_no_split():
        print(f"no split products: {missing}")
    for threads in sorted({1, os.cpu_count() or 1}):
        torch.set_num_threads(threads)
        _products_alone(threads, args.rounds)
    if split_available() or panels_are_widest():
        for threads in sorted({1, os.cpu_count() or 1}):
            torch.set_num_threads(threads)
            _whole_clips(threads, args.clip_rounds)


def _products_alone(threads: int, rounds: int) -> None:
    ways: dict[str, FoldedBackend] = {"plain": FoldedBackend()}
    ways |= {"prepacked": OneDnnBackend(torch.float32)} if can_prepack(torch.float32) else {}
    ways |= {"split": AmxFloat32Backend()} if split_available() else {}
    ways |= {"in panels": PanelFloat32Backend()} if panels_are_widest() else {}
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
    own = VideoTransformer(EncoderConfig()).eval()
    clip = torch.randn(1, 3, 8, 224, 224)
    packed = VideoTransformer(EncoderConfig()).eval()
    packed.load_state_dict(own.state_dict())
    others = {"split_available": lambda: False, "panels_are_widest": lambda: False}
    with torch.inference_mode(), patch.multiple(precision, **others):
        packed(clip)  # The backend is selected once per model.
    found = gains({"prepacked": partial(packed, clip), "own": partial(own, clip)}, threads, rounds)
    print(f"{threads} threads, whole clip, against prepacked: own kernels {found['own']}", flush=True)
