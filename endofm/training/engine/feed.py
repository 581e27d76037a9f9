"""Batches for the loop: grouped into steps, the same number on every process, beginning anywhere in an epoch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor

from endofm.training.engine import random_state
from endofm.training.engine.distributed import Agreement
from endofm.training.engine.task import TrainingData


def steps(
    data: TrainingData, agreement: Agreement, *, epoch: int, first: int, count: int, parts: int
) -> Iterator[list[Any]]:
    """Yield the batches of each step of an epoch.

    A batch that is empty on one process is left out on all, so that they stay in step; a step may come without any.

    Args:
        data: Data of this process.
        agreement: Line to the other processes.
        epoch: Number of the epoch.
        first: Step of the epoch to begin with.
        count: Steps of the epoch.
        parts: Batches per step.
    """
    data.set_epoch(epoch, first * parts)
    batches = _undisturbed(iter(data))
    for _ in range(first, count):
        group = []
        for _ in range(parts):
            batch = next(batches, None)
            (missing,) = agreement.any([batch is None or len(batch) == 0])
            if not missing:
                group.append(batch)
        yield group


def _undisturbed(batches: Iterator[Any]) -> Iterator[Any]:
    """Pass batches on without a trace in the random generators: a DataLoader draws a number whenever it begins."""
    while True:
        with random_state.unchanged():
            batch = next(batches, None)
        if batch is None:
            return
        yield batch


def to_device(value: Any, device: torch.device) -> Any:
    """Move the tensors in a batch (dataclass, mapping, list or tuple of such) to a device.

    What has a method ``to(device, non_blocking=...)`` of its own decides by itself what it moves.
    """
    if isinstance(value, Tensor) or callable(getattr(value, "to", None)):
        return value.to(device, non_blocking=True)
    if is_dataclass(value) and not isinstance(value, type):
        # Field by field on a copy, as a batch may be frozen.
        moved = object.__new__(type(value))
        for f in fields(value):
            object.__setattr__(moved, f.name, to_device(getattr(value, f.name), device))
        return moved
    if isinstance(value, dict):
        return {key: to_device(item, device) for key, item in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(to_device(item, device) for item in value))
    if isinstance(value, (list, tuple)):
        return type(value)(to_device(item, device) for item in value)
    return value
