"""The selective scan of EndoMamba on the CPU, and its live features.

``python -m benchmarks scan`` prints how many times faster than a plain loop over the steps (median and quartiles over
rounds, in turns) the scan in parts is: alone, for sequences of the published size, and in a clip of the published
encoder with random weights. Then, what a frame takes live and what is carried from frame to frame, at the start of a
recording and after many frames.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from functools import partial
from pathlib import Path
from unittest.mock import patch

import torch
from torch import Tensor

from benchmarks.timing import gains
from endofm.config import ModelConfig, PreprocessConfig
from endofm.config.mamba_config import MambaConfig
from endofm.layers import mamba
from endofm.layers.selective_scan import chunked_scan
from endofm.tasks.features.model import VideoEncoder

_CHANNELS, _STATE = 768, 16
_SHAPES = {"a frame": (1, 197), "four frames at once": (4, 197), "four frames in a row": (1, 4 * 197)}


def plain_loop(
    x: Tensor, step: Tensor, decay: Tensor, into: Tensor, out: Tensor, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return the scan, step by step, with decays and inputs of all steps computed before, as published."""
    kept = torch.exp(step[..., None] * decay)
    added = (step * x)[..., None] * into[:, :, None]
    hidden = x.new_zeros(x.shape[0], *decay.shape) if state is None else state.transpose(1, 2)
    read = []
    for index in range(x.shape[1]):
        hidden = kept[:, index] * hidden + added[:, index]
        read.append(torch.einsum("scn,sn->sc", hidden, out[:, index]))
    return torch.stack(read, dim=1), hidden.transpose(1, 2)


def main(arguments: list[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks scan", description=__doc__)
    parser.add_argument("--rounds", type=int, default=9, help="of scans and clips")
    parser.add_argument("--frames", type=int, default=200, help="frames of the live recording")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args(arguments)
    torch.set_num_threads(args.threads)
    _scans(args.threads, args.rounds)
    _clips(args.threads, args.rounds)
    _live(args.frames)


def _scans(threads: int, rounds: int) -> None:
    for name, (sequences, length) in _SHAPES.items():
        x, step = torch.randn(sequences, length, _CHANNELS), torch.rand(sequences, length, _CHANNELS) / 5
        decay = -torch.rand(_CHANNELS, _STATE) * _STATE
        into, out = torch.randn(sequences, length, _STATE), torch.randn(sequences, length, _STATE)
        work = {"loop": partial(plain_loop, x, step, decay, into, out)}
        work["in parts"] = partial(chunked_scan, x, step, decay, into, out)
        (loop, _), (parts, _) = (run() for run in work.values())
        error = float((loop - parts).abs().max() / loop.abs().max())
        found = gains(work, threads, rounds)["in parts"]
        print(f"scan of {name}: in parts {found}, difference {error:.0e} of the largest", flush=True)


def _clips(threads: int, rounds: int) -> None:
    encoder, clip = _encoder(), torch.randn(1, 3, 4, 224, 224)

    def plain() -> Tensor:
        with patch.object(mamba, "selective_scan", plain_loop):
            embedding: Tensor = encoder(clip)
            return embedding

    seconds = {}
    for name, run in (("plain", plain), ("in parts", partial(encoder, clip))):
        with torch.inference_mode():
            run()
            start = time.process_time()
            run()
        seconds[name] = time.process_time() - start
    found = gains({"loop": plain, "in parts": partial(encoder, clip)}, threads, rounds)["in parts"]
    print(
        f"clip of 4 frames: in parts {found}; CPU seconds {seconds['plain']:.2f} and {seconds['in parts']:.2f}",
        flush=True,
    )


def _live(frames: int) -> None:
    live, pixels = _encoder().live(), torch.randn(3, 224, 224)
    spans: dict[int, list[float]] = {10: [], frames: []}
    resident = {}
    for index in range(1, frames + 1):
        start = time.process_time()
        live.embed(pixels)
        spans[10 if index <= 10 else frames].append(time.process_time() - start)
        if index in spans:
            resident[index] = _resident()
    for last, seconds in spans.items():
        print(
            f"live, frames up to {last}: {statistics.median(seconds):.3f} CPU seconds a frame, "
            f"{resident[last] / 1e6:.0f} MB resident",
            flush=True,
        )


def _encoder() -> VideoEncoder:
    config = MambaConfig()
    preprocess = PreprocessConfig.for_image_size(config.img_size, num_frames=config.num_frames)
    model = ModelConfig(encoder=config, preprocess=preprocess, trained=False)
    return VideoEncoder.class_for(model)(model).eval()


def _resident() -> int:
    """Bytes of this process in memory, 0 where the system does not say."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if statm.exists() else 0
