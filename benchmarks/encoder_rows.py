"""Rows on the encoder: every precision against the plain restatement of the published block."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from benchmarks.flops import gflop_per_clip, matmul_ceiling
from benchmarks.peer import make_peer
from benchmarks.reference import Reference
from benchmarks.table import Row
from benchmarks.timing import compare
from endofm.kernels.cuda_graphs import GraphedEncoder
from endofm.kernels.int8 import can_multiply_int8
from endofm.kernels.native_products import panels_are_widest
from endofm.kernels.precision import PRECISIONS, Precision, effective_precision
from endofm.models.encoder import VideoTransformer
from endofm.outputs import EncoderOutput

_EXACT = 1e-5
_LARGEST_ANGLE = {"bfloat16": 1e-4, "int8": 1e-3}
_BOUNDS = {"bfloat16": (2.5, 3.0), "int8": (3.3, 4.5)}
PEER = "transformers TimesformerModel"


def encoder_rows(
    models: Mapping[Precision, VideoTransformer], *, rounds: int, threads: int
) -> tuple[list[Row], dict[str, Any]]:
    """Measure one clip at a time, at one thread (CPU seconds) and at several (wall time).

    Args:
        models: The same weights at every precision to measure, ``"exact"`` among them.
        rounds: Rounds after the warm-up.
        threads: Threads of the second measurement.

    Returns:
        Rows, and a dictionary of rates and accuracies.
    """
    exact = models["exact"]
    config = exact.encoder_config
    clip = torch.randn(1, config.in_chans, config.num_frames, config.img_size, config.img_size)
    candidates: dict[str, Callable[[], Tensor]] = {"reference": _runs(Reference(exact), clip)}
    if (peer := make_peer(exact)) is not None:
        candidates[PEER] = _runs(peer, clip)
    candidates |= {precision: _runs(model, clip) for precision, model in models.items()}
    wanted = candidates["reference"]().double()
    differences = {name: float((run().double() - wanted).abs().max()) for name, run in candidates.items()}
    angles = {name: 1 - float(torch.cosine_similarity(run().double(), wanted)) for name, run in candidates.items()}

    rows: list[Row] = []
    details: dict[str, Any] = {
        "gflop_per_clip": gflop_per_clip(config),
        "max_difference": differences,
        "one_minus_cosine": angles,
    }
    before = torch.get_num_threads()
    try:
        for count in sorted({1, threads}):
            name, bounds = f"float32, exact, {count} threads", (1.4, 1.7)
            if count == 1:
                name, bounds = "float32, exact, 1 thread", (1.35, 1.5)
            torch.set_num_threads(count)
            ratios = compare(
                candidates, rounds=rounds, clock=time.process_time if count == 1 else time.perf_counter, warm_up=1
            )
            note = f"largest difference {differences['exact']:.0e}"
            if PEER in ratios:
                note += f"; transformers {ratios[PEER].median:.2f}x"
            sound = differences["exact"] <= _EXACT
            rows.append(Row.of_ratio(name, ratios["exact"], *bounds, sound=sound, note=note))
            ceiling = matmul_ceiling(config, torch.device("cpu"))
            details[f"threads_{count}"] = {
                "ceiling_gflop_per_second": ceiling,
                "reached_gflop_per_second": {n: gflop_per_clip(config) / r.seconds for n, r in ratios.items()},
                "seconds": {n: r.seconds for n, r in ratios.items()},
                "ratios": {n: [r.median, r.low, r.high] for n, r in ratios.items()},
            }
            if count == 1:
                for precision, limit in _LARGEST_ANGLE.items():
                    found = f"1 - cosine {angles[precision]:.0e}" if precision in angles else ""
                    label, bound = f"{precision}, 1 thread", _BOUNDS[precision]
                    if precision in ratios:
                        ok = angles[precision] <= limit
                        # Floor and goal of int8 are those of processors with instructions for bytes.
                        fair = precision != "int8" or not panels_are_widest()
                        row = Row.of_ratio(label, ratios[precision], *bound, sound=ok, comparable=fair, note=found)
                        rows.append(row)
                    else:
                        rows.append(
                            Row(name=label, unit="x", floor=bound[0], goal=bound[1], note="not faster than exact here")
                        )
    finally:
        torch.set_num_threads(before)
    return rows, details


def available_precisions() -> list[Precision]:
    """Return the precisions that are used on this processor: that it supports and multiplies faster than exactly."""
    supported = [name for name in PRECISIONS if name != "int8" or can_multiply_int8()]
    return [name for name in supported if effective_precision(name, torch.device("cpu")) == name]


def gpu_row(model: VideoTransformer, *, rounds: int, batch_size: int = 16) -> Row:
    """Measure how much of a GPU's bfloat16 product rate whole clips reach; the model is moved there and back."""
    row = {"name": "GPU: bfloat16 clips, of the measured product rate", "unit": "%", "floor": 40.0, "goal": 60.0}
    if not torch.cuda.is_available():
        return Row(**row, note="no CUDA device")  # type: ignore[arg-type]
    config, device = model.encoder_config, torch.device("cuda")
    model.to(device)
    model.precision = "bfloat16"
    encode = GraphedEncoder(lambda clips, *, level: EncoderOutput(model(clips), None))
    clips = torch.randn(batch_size, config.in_chans, config.num_frames, config.img_size, config.img_size, device=device)
    seconds = []
    with torch.inference_mode():
        for _ in range(rounds + 2):
            torch.cuda.synchronize()
            start = time.perf_counter()
            for _ in range(5):
                encode(clips, level="clip")
            torch.cuda.synchronize()
            seconds.append((time.perf_counter() - start) / 5)
    rate = batch_size * gflop_per_clip(config) / sorted(seconds[2:])[len(seconds[2:]) // 2]
    big = torch.randn(8192, 8192, device=device, dtype=torch.bfloat16)
    best = 0.0
    for _ in range(5):
        torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(5):
            big @ big
        torch.cuda.synchronize()
        best = max(best, 5 * 2 * 8192**3 / 1e9 / (time.perf_counter() - start))
    model.cpu()
    note = f"{torch.cuda.get_device_name()}, batch {batch_size}, {rate / 1e3:.0f} of {best / 1e3:.0f} TFLOP/s"
    return Row(**row, value=100 * rate / best, note=note)  # type: ignore[arg-type]


def _runs(network: Callable[[Tensor], Tensor], clip: Tensor) -> Callable[[], Tensor]:
    def run() -> Tensor:
        with torch.inference_mode():
            return network(clip)

    return run
