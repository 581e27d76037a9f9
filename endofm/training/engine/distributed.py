"""Communication between the processes of a run; with one process everything here is the identity."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.tensor import DTensor


def world_size() -> int:
    """Return the number of processes."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Return the number of this process."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def whole(tensor: Tensor) -> Tensor:
    """Return a tensor that is shared out over processes (FSDP) in one piece; to be called on every process."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def all_reduce_mean(tensor: Tensor) -> Tensor:
    """Return the mean of a tensor over processes, without a gradient.

    Args:
        tensor: Floating point, of the same shape on every process. It is not changed.
    """
    mean = tensor.detach().clone()
    if world_size() > 1:
        dist.all_reduce(mean)
        mean /= world_size()
    return mean


def all_gather(tensor: Tensor) -> Tensor:
    """Join the tensors of all processes along their first axis, in order of the processes, without a gradient.

    Args:
        tensor: Of the same shape on every process.
    """
    if world_size() == 1:
        return tensor.detach()
    parts = [torch.empty_like(tensor) for _ in range(world_size())]
    dist.all_gather(parts, tensor.detach().contiguous())
    return torch.cat(parts)


def all_gather_with_grad(tensor: Tensor) -> Tensor:
    """Join tensors as :func:`all_gather`; gradients flow back to the process that a row came from.

    A loss that every process computes over all rows then trains as it would in one process: the gradient of a row is
    summed over processes here, and that of the weights is averaged over them by the strategy.
    """
    if world_size() == 1:
        return tensor
    joined: Tensor = _Gather.apply(tensor)
    return joined


class _Gather(torch.autograd.Function):
    """Gather rows; backward sums the gradients of this process's rows over processes."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        ctx.rows = len(tensor)
        return all_gather(tensor)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].contiguous()
        dist.all_reduce(total)
        return total[rank() * ctx.rows : (rank() + 1) * ctx.rows]


class Agreement:
    """Yes-or-no questions to all processes, answered over the CPU so that no GPU has to wait."""

    def __init__(self) -> None:
        self._group: Any = dist.new_group(backend="gloo") if world_size() > 1 else None

    def any(self, flags: Sequence[bool]) -> list[bool]:
        """Return for each flag whether any process raised it."""
        if self._group is None:
            return list(flags)
        votes = torch.tensor([int(flag) for flag in flags])
        dist.all_reduce(votes, op=dist.ReduceOp.MAX, group=self._group)
        return [bool(vote) for vote in votes.tolist()]
