"""Precision of a run: the requested one, or the faster one of this processor."""

from __future__ import annotations

import time

import torch
from torch import nn

from endofm.training.engine import random_state
from endofm.training.run_config import FixedPrecision, RunConfig

CLEARLY_FASTER = 1.2
"""Times as fast as float32 that bfloat16 has to be on a CPU: float32 is the better choice where it costs little."""

_ROWS, _WIDTH, _ROUNDS = 512, 192, 5
_MIXED = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


def run_precision(run: RunConfig, accelerator: str, recorded: FixedPrecision | None) -> FixedPrecision:
    """Return the precision in which a run computes.

    Args:
        run: Run settings.
        accelerator: ``"cuda"`` or ``"cpu"``.
        recorded: Precision of an earlier part of the run, which is kept: a measurement may come out otherwise when the
            run is resumed, and the weights would then not be those of an uninterrupted run.
    """
    if recorded is not None:
        return recorded
    if accelerator == "cuda":
        if run.precision != "auto":
            return run.precision
        return "bf16-mixed" if torch.cuda.get_device_capability() >= (8, 0) else "16-mixed"
    if run.precision == "auto":
        return "bf16-mixed" if mixed_speed(torch.bfloat16) >= CLEARLY_FASTER else "32-true"
    if run.precision == "32-true":
        return run.precision
    # What was requested is only replaced where it would cost time.
    return run.precision if mixed_speed(_MIXED[run.precision]) >= 1 else "32-true"


def explain_precision(run: RunConfig, precision: FixedPrecision) -> str | None:
    """Return a sentence about a precision that is another than the requested one; None if it is that."""
    if run.precision == precision:
        return None
    reason = "" if run.precision == "auto" else ", which is slower than 32-true on this processor"
    return f"Precision: {precision} (run.precision is {run.precision}{reason})."


def mixed_speed(dtype: torch.dtype) -> float:
    """Return how many times as fast as in float32 this CPU trains a small layer in mixed precision.

    Flags of the processor do not tell: with some instructions bfloat16 is three times as fast, without them it is
    many times slower. Takes some tens of milliseconds of this thread, whose own time other processes do not disturb.

    Args:
        dtype: ``torch.bfloat16`` or ``torch.float16``.
    """
    with random_state.preserved():
        layers = nn.Sequential(nn.Linear(_WIDTH, 4 * _WIDTH), nn.GELU(), nn.Linear(4 * _WIDTH, _WIDTH))
        rows = torch.randn(_ROWS, _WIDTH)

    def seconds(enabled: bool) -> float:
        times = []
        for _ in range(_ROUNDS):
            began = time.thread_time()
            with torch.autocast("cpu", dtype, enabled=enabled):
                loss = layers(rows).float().square().mean()
            loss.backward()
            times.append(time.thread_time() - began)
        return min(times)

    return seconds(False) / seconds(True)
