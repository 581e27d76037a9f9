"""Linear layers through oneDNN, with weights in the processor's own order: float32 and bfloat16 on the CPU.

PyTorch has these products for its compiler, under private names that may change or disappear. Whether they exist and
compute correctly is tried once per process and type; where they do not,
:class:`~endofm.kernels.backend.FoldedBackend` computes the same with public operators.
"""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from endofm.kernels.backend import FoldedBackend, LinearWeights, add_residual

TYPICAL_ROWS = 1568
"""Rows of input for which oneDNN chooses the order of the weights: the tokens of one clip. Any other number works."""


class OneDnnBackend(FoldedBackend):
    """Products with prepacked weights; GELU and float32 residual are applied while the result is in registers.

    Args:
        dtype: ``torch.float32`` or ``torch.bfloat16``, if :func:`can_prepack` returns True for it.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__(dtype)

    def prepare(self, weight: Tensor, bias: Tensor | None) -> LinearWeights:
        """Reorder the weights."""
        weight, bias, _ = super().prepare(weight, bias)
        return LinearWeights(torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), TYPICAL_ROWS), bias)

    def multiply(self, x: Tensor, weights: LinearWeights, *, gelu: bool) -> Tensor:
        """Return ``x @ weight.T + bias``, followed by a GELU if requested."""
        rows = x.reshape(-1, x.shape[-1])
        # The operator applies a pointwise function by name; "none" as algorithm is the exact GELU, not the tanh one.
        pointwise, algorithm = ("gelu", "none") if gelu else ("none", "")
        out: Tensor = torch.ops.mkldnn._linear_pointwise(rows, weights.weight, weights.bias, pointwise, [], algorithm)
        return out.view(*x.shape[:-1], -1)

    def multiply_add(self, x: Tensor, branch: Tensor, weights: LinearWeights) -> Tensor:
        """Return ``x + branch @ weight.T + bias``."""
        # The fused sum would be rounded to the branch's type; a float32 stream over bfloat16 products is added apart.
        if x.dtype != branch.dtype:
            return add_residual(x, self.multiply(branch, weights, gelu=False))
        rows, residual = branch.reshape(-1, branch.shape[-1]), x.reshape(-1, x.shape[-1])
        out: Tensor = torch.ops.mkldnn._linear_pointwise.binary(rows, residual, weights.weight, weights.bias, "add")
        return out.view(x.shape)


@lru_cache
def can_prepack(dtype: torch.dtype) -> bool:
    """Return whether this build of PyTorch prepacks weights of a type on this processor and multiplies them."""
    if dtype not in (torch.float32, torch.bfloat16) or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    # One small product each way, compared with public operators: private operators may be gone, or changed in meaning.
    x, residual, weight, bias = (torch.linspace(-1, 1, n * 32, dtype=torch.float32).sin() for n in (3, 3, 32, 1))
    x, residual, weight = x.view(3, 32).to(dtype), residual.view(3, 32).to(dtype), weight.view(32, 32)
    expected = F.linear(x.float(), weight, bias)
    try:
        backend = OneDnnBackend(dtype)
        weights = backend.prepare(weight, bias)
        results = backend.multiply(x, weights, gelu=True), backend.multiply_add(residual, x, weights)
    except (RuntimeError, AttributeError, TypeError, NotImplementedError):
        return False
    tolerance = 1e-5 if dtype is torch.float32 else 0.1
    pairs = zip(results, (F.gelu(expected), residual.float() + expected), strict=True)
    return all(a.dtype == dtype and bool((a.float() - b).abs().max() < tolerance) for a, b in pairs)
