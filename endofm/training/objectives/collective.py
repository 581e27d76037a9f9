"""Talking to the other processes of a distributed run; in a run of one process all of it does nothing."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


def world_size() -> int:
    """Return the number of processes."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


class Batch:
    """Where the rows of this process lie in the batch of all processes.

    Args:
        rows: Rows of this process; other processes may have another number, as a clip that cannot be decoded makes
            its batch smaller.
        device: Device that the process group works on.
        gather: False keeps to the rows of this process, as if there were no others.

    Attributes:
        first: Number of this process's first row.
        total: Rows of all processes.
    """

    def __init__(self, rows: int, device: torch.device, *, gather: bool = True) -> None:
        self.first, self.total, self.processes = 0, rows, 1
        self._counts: list[int] | None = None
        if gather and world_size() > 1:
            mine = torch.tensor([rows], device=device)
            counts = [torch.empty_like(mine) for _ in range(world_size())]
            dist.all_gather(counts, mine)
            self._counts = [int(count) for count in counts]
            self.first, self.total = sum(self._counts[: dist.get_rank()]), sum(self._counts)
            self.processes = len(counts)

    @torch.no_grad()
    def gather(self, rows: Tensor) -> Tensor:
        """Return the rows of all processes in the order of their ranks, without gradient.

        Args:
            rows: ``(own rows, ...)``.

        Returns:
            ``(total, ...)``.
        """
        rows = rows.detach()
        if self._counts is None:
            return rows
        # Collectives want equal shapes: short batches are filled up and cut again.
        filled = rows.new_zeros((max(self._counts), *rows.shape[1:]))
        filled[: len(rows)] = rows
        parts = [torch.empty_like(filled) for _ in self._counts]
        dist.all_gather(parts, filled)
        return torch.cat([part[:count] for part, count in zip(parts, self._counts, strict=True)])

    def sum(self, value: Tensor) -> Tensor:
        """Return the sum of a tensor over the processes, without gradient."""
        value = value.detach().clone()
        if self._counts is not None:
            dist.all_reduce(value)
        return value


class _SumOverProcesses(torch.autograd.Function):
    """Sum over processes whose gradient is summed over processes too."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        value = value.clone()
        dist.all_reduce(value)
        return value

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        grad = grad.contiguous().clone()
        dist.all_reduce(grad)
        return grad


class SharedBatchNorm(nn.BatchNorm1d):
    """Batch norm of ``(rows, features)`` over the rows of all processes.

    ``torch.nn.SyncBatchNorm`` does this on accelerators only; this one works with any process group, so that a run on
    several CPU processes, and its test, computes the same. With one process it is ``BatchNorm1d``.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``(rows, features)``."""
        if not self.training or world_size() == 1:
            return super().forward(x)
        values = x.float()
        rows = values.new_tensor(float(len(values)))
        dist.all_reduce(rows)
        mean = _summed(values.sum(dim=0)) / rows
        centred = values - mean
        variance = _summed(centred.square().sum(dim=0)) / rows
        self._remember(mean.detach(), variance.detach(), float(rows))
        out = centred * (variance + self.eps).rsqrt() * self.weight + self.bias
        return out.to(x.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor, rows: float) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance * (rows / max(rows - 1, 1)), share)


def _summed(value: Tensor) -> Tensor:
    total: Tensor = _SumOverProcesses.apply(value)
    return total
