"""Gradient clipping tensor by tensor, and freezing."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from endofm.training.engine.distributed import local_parts


def clip_each(parameters: Iterable[nn.Parameter], max_norm: float) -> Tensor:
    """Scale down every gradient whose own norm exceeds ``max_norm``.

    As published, each tensor is clipped by its own norm; ``torch.nn.utils.clip_grad_norm_`` takes the norm of all of
    them together. The factor is ``max_norm / (norm + 1e-6)`` where that is below 1. Nothing waits for the device.

    Args:
        parameters: Parameters; those without a gradient are skipped.
        max_norm: Largest norm that is left unchanged.

    Returns:
        Norms before clipping, float32 ``(tensors,)``, in order; empty if there are no gradients.
    """
    gradients = [p.grad for p in parameters if p.grad is not None]
    if not gradients:
        return torch.zeros(0)
    local = local_parts(gradients)
    norms = torch.stack(torch._foreach_norm(local)).float()
    if isinstance(gradients[0], DTensor):
        # FSDP: every process has a shard of each tensor, and |g|^2 is the sum of the squared norms of its shards.
        squares = norms.square()
        dist.all_reduce(squares, group=gradients[0].device_mesh.get_group())
        norms = squares.sqrt()
    # min(1, ...) instead of a condition on the norm: no value has to be read back from the device.
    factors = (max_norm / (norms + 1e-6)).clamp_(max=1.0)
    torch._foreach_mul_(local, list(factors.unbind()))
    return norms


def cancel_gradients(named_parameters: Iterable[tuple[str, nn.Parameter]], part: str) -> None:
    """Set the gradients of all parameters with ``part`` in their name to None.

    AdamW skips such parameters altogether. A gradient of zero would not freeze them: weight decay and the moments of
    earlier steps would still move them.
    """
    for name, parameter in named_parameters:
        if part in name:
            parameter.grad = None
