"""Communication between the processes of a run; with one process everything here is the identity."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.tensor import DTensor


def world_size() -> int:
    """Return the number of processes."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Return the index of this process, from 0."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def full_tensor(tensor: Tensor) -> Tensor:
    """Return the full tensor of one that FSDP shards over processes; to be called on every process."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def local_parts(tensors: Iterable[Tensor]) -> list[Tensor]:
    """Return the tensors themselves, or under FSDP the shard of each that this process holds."""
    return [tensor.to_local() if isinstance(tensor, DTensor) else tensor for tensor in tensors]


def all_reduce_mean(tensor: Tensor) -> Tensor:
    """Return the mean of a tensor over processes, without a gradient.

    Args:
        tensor: Floating point, of the same shape on every process. It is not modified.
    """
    mean = tensor.detach().clone()
    if world_size() > 1:
        dist.all_reduce(mean)
        mean /= world_size()
    return mean


class Agreement:
    """Yes-or-no questions to all processes, answered over the CPU so that no GPU has to wait."""

    def __init__(self) -> None:
        # A group of its own: the default one is NCCL on GPUs, which would synchronise the stream.
        self._group: Any = dist.new_group(backend="gloo") if world_size() > 1 else None

    def any(self, flags: Sequence[bool]) -> list[bool]:
        """Return for each flag whether any process raised it."""
        if self._group is None:
            return list(flags)
        votes = torch.tensor([int(flag) for flag in flags])
        dist.all_reduce(votes, op=dist.ReduceOp.MAX, group=self._group)
        return [bool(vote) for vote in votes.tolist()]


class GatheredBatch:
    """Position of this process's rows in the batch of all processes.

    Args:
        rows: Rows of this process; other processes may have another number, because a clip that cannot be decoded
            makes its batch smaller.
        device: Device of the process group.
        gather: False keeps to the rows of this process, as if there were no others.

    Attributes:
        first: Index of this process's first row.
        total: Rows of all processes.
        processes: Number of processes whose rows are gathered.
    """

    def __init__(self, rows: int, device: torch.device, *, gather: bool = True) -> None:
        self.first, self.total, self.processes = 0, rows, 1
        self._counts: list[int] | None = None
        if gather and world_size() > 1:
            own = torch.tensor([rows], device=device)
            counts = [torch.empty_like(own) for _ in range(world_size())]
            dist.all_gather(counts, own)
            self._counts = [int(count) for count in counts]
            self.first, self.total = sum(self._counts[: rank()]), sum(self._counts)
            self.processes = len(counts)

    @torch.no_grad()
    def gather(self, rows: Tensor) -> Tensor:
        """Return the rows of all processes in the order of their ranks, without a gradient.

        Args:
            rows: ``(own rows, ...)``.

        Returns:
            ``(total, ...)``.
        """
        rows = rows.detach()
        if self._counts is None:
            return rows
        # Collectives need equal shapes: short batches are padded for the exchange and trimmed after it.
        padded = rows.new_zeros((max(self._counts), *rows.shape[1:]))
        padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in self._counts]
        dist.all_gather(parts, padded)
        return torch.cat([part[:count] for part, count in zip(parts, self._counts, strict=True)])

    def sum(self, value: Tensor) -> Tensor:
        """Return the sum of a tensor over the processes, without a gradient."""
        value = value.detach().clone()
        if self._counts is not None:
            dist.all_reduce(value)
        return value
