"""Limiting gradients tensor by tensor."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor


def local_parts(tensors: Iterable[Tensor]) -> list[Tensor]:
    """Return the tensors themselves, or under FSDP the part of each that this process holds."""
    return [tensor.to_local() if isinstance(tensor, DTensor) else tensor for tensor in tensors]


def clip_each(parameters: Iterable[nn.Parameter], max_norm: float) -> Tensor:
    """Scale down every gradient whose own norm exceeds ``max_norm``.

    Each tensor is looked at by itself, unlike ``torch.nn.utils.clip_grad_norm_``, which looks at all of them as one
    vector. The factor is ``max_norm / (norm + 1e-6)`` where that is below 1, as in the original. Nothing waits for the
    device.

    Args:
        parameters: Those without a gradient are passed over.
        max_norm: Largest norm that is left as it is.

    Returns:
        Norms before clipping, float32 ``(tensors,)``, in order; empty if there are no gradients.
    """
    gradients = [p.grad for p in parameters if p.grad is not None]
    if not gradients:
        return torch.zeros(0)
    local = local_parts(gradients)
    norms = torch.stack(torch._foreach_norm(local)).float()
    if isinstance(gradients[0], DTensor):  # FSDP: every process has a part of each tensor
        squares = norms.square()
        dist.all_reduce(squares, group=gradients[0].device_mesh.get_group())
        norms = squares.sqrt()
    factors = (max_norm / (norms + 1e-6)).clamp_(max=1.0)
    torch._foreach_mul_(local, list(factors.unbind()))
    return norms


def cancel_gradients(named_parameters: Iterable[tuple[str, nn.Parameter]], part: str) -> None:
    """Set the gradients of all parameters with ``part`` in their name to None, so that an optimiser skips them."""
    for name, parameter in named_parameters:
        if part in name:
            parameter.grad = None
