"""Linear layers with weights in the processor's own order, through oneDNN: for float32 and bfloat16 on the CPU.

PyTorch has these products for its compiler, under private names that may change or vanish. Whether they are there and
right is tried once per process and type; where they are not, :class:`~endofm.kernels.backend.Inference` does the
same with public operators.
"""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from endofm.kernels.backend import Inference, Weights, add

_ROWS = 1568
"""Rows of input that the order of the weights is chosen for: the tokens of one clip. Any other number works."""


class Packed(Inference):
    """Products with prepacked weights, GELU and float32 residual added while the result is still in registers.

    Args:
        dtype: ``torch.float32`` or ``torch.bfloat16``; :func:`can_pack` tells which can be had.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__(dtype)

    def prepare(self, weight: Tensor, bias: Tensor | None) -> Weights:
        """Reorder the weights."""
        weight, bias, _ = super().prepare(weight, bias)
        return Weights(torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), _ROWS), bias)

    def multiply(self, x: Tensor, weights: Weights, *, gelu: bool) -> Tensor:
        """Return ``x @ weight.T + bias``, with a GELU if asked for."""
        rows = x.reshape(-1, x.shape[-1])
        post, form = ("gelu", "none") if gelu else ("none", "")
        out: Tensor = torch.ops.mkldnn._linear_pointwise(rows, weights.weight, weights.bias, post, [], form)
        return out.view(*x.shape[:-1], -1)

    def multiply_add(self, x: Tensor, branch: Tensor, weights: Weights) -> Tensor:
        """Return ``x + branch @ weight.T + bias``."""
        if x.dtype != branch.dtype:
            return add(x, self.multiply(branch, weights, gelu=False))
        rows, stream = branch.reshape(-1, branch.shape[-1]), x.reshape(-1, x.shape[-1])
        out: Tensor = torch.ops.mkldnn._linear_pointwise.binary(rows, stream, weights.weight, weights.bias, "add")
        return out.view(x.shape)


@lru_cache
def can_pack(dtype: torch.dtype) -> bool:
    """Return whether this build of PyTorch packs weights of this type on this processor, and computes with them."""
    if dtype not in (torch.float32, torch.bfloat16) or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    x, stream, weight, bias = (torch.linspace(-1, 1, n * 32, dtype=torch.float32).sin() for n in (3, 3, 32, 1))
    x, stream, weight = x.view(3, 32).to(dtype), stream.view(3, 32).to(dtype), weight.view(32, 32)
    wanted = F.linear(x.float(), weight, bias)
    try:
        packed = Packed(dtype)
        weights = packed.prepare(weight, bias)
        found = packed.multiply(x, weights, gelu=True), packed.multiply_add(stream, x, weights)
    except (RuntimeError, AttributeError, TypeError, NotImplementedError):
        return False
    tolerance = 1e-5 if dtype is torch.float32 else 0.1
    pairs = zip(found, (F.gelu(wanted), stream.float() + wanted), strict=True)
    return all(a.dtype == dtype and bool((a.float() - b).abs().max() < tolerance) for a, b in pairs)
