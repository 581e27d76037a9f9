"""Operation counts of an encoder, and the peak rate of matrix products on this processor."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import nn

from endofm.config import EncoderConfig
from endofm.kernels.backend import FoldedBackend, OneDnnBackend, can_prepack
from endofm.kernels.float32 import AmxFloat32Backend, PanelFloat32Backend
from endofm.kernels.int8 import can_multiply_int8, int8_backend
from endofm.kernels.native_products import panels_are_widest, split_available
from endofm.kernels.precision import effective_precision


def gflop_per_clip(config: EncoderConfig) -> float:
    """Return the multiplications and additions of the published computation for one clip, in 1e9.

    Dense products and the two attentions; norms, softmax and sums are left out.
    """
    patches, time_ = config.grid_size**2, config.num_frames
    dim, hidden = config.embed_dim, config.mlp_dim
    tokens = time_ * patches
    embed = 2 * tokens * dim * config.in_chans * config.patch_size**2
    temporal = 2 * tokens * dim * 5 * dim + 4 * tokens * time_ * dim
    spatial = 2 * (tokens + time_) * dim * 4 * dim + 4 * time_ * (patches + 1) ** 2 * dim
    mlp = 2 * (tokens + 1) * dim * 2 * hidden
    return (embed + config.depth * (temporal + spatial + mlp)) / 1e9


def matmul_ceiling(config: EncoderConfig, device: torch.device, rounds: int = 5) -> dict[str, float]:
    """Return the rate of the MLP's first product, the largest there is, in 1e9 operations per second.

    One entry per backend that works on this machine, at the current number of threads.
    """
    rows = config.num_frames * config.grid_size**2
    layer = nn.Linear(config.embed_dim, config.mlp_dim, device=device).eval()
    x = torch.randn(rows, config.embed_dim, device=device)
    candidates: dict[str, tuple[FoldedBackend, torch.dtype]] = {
        "float32": (FoldedBackend(), torch.float32),
    }
    lower = [torch.bfloat16] if effective_precision("bfloat16", device) == "bfloat16" else []
    if lower:
        candidates["bfloat16"] = FoldedBackend(torch.bfloat16), torch.bfloat16
    if device.type == "cpu":
        for dtype in (torch.float32, *lower):
            if can_prepack(dtype):
                candidates[f"{str(dtype).removeprefix('torch.')}, packed"] = OneDnnBackend(dtype), dtype
        if split_available():
            candidates["float32, as six of bfloat16"] = AmxFloat32Backend(), torch.float32
        if panels_are_widest():
            candidates["float32, in panels"] = PanelFloat32Backend(), torch.float32
        if can_multiply_int8():
            candidates["int8, with rounding of the input"] = int8_backend(), torch.float32
    work = 2 * rows * config.embed_dim * config.mlp_dim / 1e9
    rates = {}
    with torch.inference_mode():
        for name, (backend, dtype) in candidates.items():
            low = x.to(dtype)
            rates[name] = work / min(_seconds(lambda a=backend, z=low: a.linear(z, layer), device, rounds))  # type: ignore[misc]
    return rates


def _seconds(work: Callable[[], object], device: torch.device, rounds: int) -> list[float]:
    clock = time.process_time if device.type == "cpu" and torch.get_num_threads() == 1 else time.perf_counter
    found = []
    for _ in range(rounds + 1):
        start = clock()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        found.append(clock() - start)
    return found[1:]
