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


def run_precision(run: RunConfig, accelerator: str, recorded: FixedPrecision | None) -> FixedPrecision:
    """Return the precision in which a run computes.

    Args:
        run: Run settings.
        accelerator: ``"cuda"`` or ``"cpu"``.
        recorded: Precision of an earlier part of the run, which ``auto`` keeps: a measurement may come out otherwise
            when the run is resumed, and the weights would then not be those of an uninterrupted run.
    """
    if run.precision != "auto":
        return run.precision
    if recorded is not None:
        return recorded
    if accelerator == "cuda":
        return "bf16-mixed" if torch.cuda.get_device_capability() >= (8, 0) else "16-mixed"
    return "bf16-mixed" if bfloat16_speed() >= CLEARLY_FASTER else "32-true"


def bfloat16_speed() -> float:
    """Return how many times as fast as in float32 this CPU trains a small layer in bfloat16.

    Flags of the processor do not tell: with some instructions bfloat16 is three times as fast, without them it is
    many times slower. Takes some tens of milliseconds of this thread, whose own time other processes do not disturb.
    """
    with random_state.preserved():
        layers = nn.Sequential(nn.Linear(_WIDTH, 4 * _WIDTH), nn.GELU(), nn.Linear(4 * _WIDTH, _WIDTH))
        rows = torch.randn(_ROWS, _WIDTH)

    def seconds(enabled: bool) -> float:
        times = []
        for _ in range(_ROUNDS):
            began = time.thread_time()
            with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
                loss = layers(rows).float().square().mean()
            loss.backward()
            times.append(time.thread_time() - began)
        return min(times)

    return seconds(False) / seconds(True)
