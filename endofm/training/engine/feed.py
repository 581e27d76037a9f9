"""Batches for the loop: grouped into steps, the same number on every process, starting anywhere in an epoch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor

from endofm.data.loader import ClipLoader, ClipSource
from endofm.training.engine import random_state
from endofm.training.engine.distributed import Agreement
from endofm.training.engine.training_task import LoaderSpec, TrainingData


def clip_loader(source: ClipSource, spec: LoaderSpec, *, drop_last: bool = False) -> ClipLoader:
    """Return the loader of one process.

    Args:
        source: Clips of the whole run.
        spec: The part of the data that this process reads, and how.
        drop_last: Leave out a last, smaller batch. With several processes it is always left out, because they have to
            agree on the number of batches.
    """
    return ClipLoader(
        source,
        spec.batch_size,
        num_workers=spec.num_workers,
        drop_last=drop_last or spec.world_size > 1,
        rank=spec.rank,
        world_size=spec.world_size,
        keep_empty=True,
        pin_memory=spec.pin_memory,
    )


def steps(
    data: TrainingData, agreement: Agreement, *, epoch: int, first: int, count: int, parts: int
) -> Iterator[list[Any]]:
    """Yield the batches of each step of an epoch.

    A batch that is empty on one process is skipped on all, so that they stay in step: a collective that one process
    does not enter would hang the others. A step may come without any batch.

    Args:
        data: Data of this process.
        agreement: Connection to the other processes.
        epoch: Index of the epoch.
        first: Step of the epoch to start with.
        count: Steps of the epoch.
        parts: Batches per step.
    """
    data.set_epoch(epoch, first * parts)
    batches = _without_random_draws(iter(data))
    for _ in range(first, count):
        group = []
        for _ in range(parts):
            batch = next(batches, None)
            (missing,) = agreement.any([batch is None or len(batch) == 0])
            if not missing:
                group.append(batch)
        yield group


def _without_random_draws(batches: Iterator[Any]) -> Iterator[Any]:
    """Yield batches without advancing the global random generators.

    A ``DataLoader`` draws a number whenever iteration starts, which it does once more in a resumed run: stochastic
    depth would then differ from that of an uninterrupted run.
    """
    while True:
        with random_state.preserved():
            batch = next(batches, None)
        if batch is None:
            return
        yield batch


def to_device(value: Any, device: torch.device) -> Any:
    """Move the tensors in a batch (dataclass, mapping, list or tuple of such) to a device.

    An object with a method ``to(device, non_blocking=...)`` decides itself which parts move.
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
