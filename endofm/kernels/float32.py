"""Float32 products on the CPU by compiled kernels, where they are faster than oneDNN's."""

from __future__ import annotations

import torch
from torch import Tensor

from endofm.kernels.backend import LinearWeights, OneDnnBackend
from endofm.kernels.native_products import BLOCK, PANEL, pack_panels, panel_product, split_product

_PARTS = 3
"""Bfloat16 numbers per float32 number: 8 significant bits each, 24 together."""


class _CompiledBackend(OneDnnBackend):
    """Float32 products by kernels of this package, with bias, GELU and residual inside; other widths by oneDNN."""

    def __init__(self) -> None:
        super().__init__(torch.float32)

    def pack(self, weight: Tensor) -> Tensor | None:
        """Return a float32 weight ``(outputs, inputs)`` in the kernel's order; None if its size does not fit."""
        raise NotImplementedError

    def product(
        self, rows: Tensor, weight: Tensor, bias: Tensor | None, residual: Tensor | None, *, gelu: bool
    ) -> Tensor:
        """Call the kernel; see :func:`endofm.kernels.native_products.split_product`."""
        raise NotImplementedError

    def prepare(self, weight: Tensor, bias: Tensor | None) -> LinearWeights:
        """Bring the weights into the kernel's order."""
        packed = self.pack(weight.float())
        if packed is None:
            return super().prepare(weight, bias)
        return LinearWeights(packed, None if bias is None else bias.float().contiguous())

    def multiply(self, x: Tensor, weights: LinearWeights, *, gelu: bool) -> Tensor:
        """Return ``x @ weight.T + bias``, followed by a GELU if requested."""
        if not _is_packed(weights):
            return super().multiply(x, weights, gelu=gelu)
        rows = x.reshape(-1, x.shape[-1])
        return self.product(rows, weights.weight, weights.bias, None, gelu=gelu).view(*x.shape[:-1], -1)

    def multiply_add(self, x: Tensor, branch: Tensor, weights: LinearWeights) -> Tensor:
        """Return ``x + branch @ weight.T + bias``."""
        if not _is_packed(weights):
            return super().multiply_add(x, branch, weights)
        rows, residual = branch.reshape(-1, branch.shape[-1]), x.reshape(-1, x.shape[-1])
        return self.product(rows, weights.weight, weights.bias, residual, gelu=False).view(x.shape)


def _is_packed(weights: LinearWeights) -> bool:
    # oneDNN's own order has no axes of ours.
    return weights.weight.layout is torch.strided and weights.weight.ndim > 2


class PanelFloat32Backend(_CompiledBackend):
    """Float32 products on x86-64 processors with AVX2, by ``_linear.c``."""

    def pack(self, weight: Tensor) -> Tensor | None:
        """Return the weight in panels."""
        return None if len(weight) % PANEL else pack_panels(weight)

    def product(
        self, rows: Tensor, weight: Tensor, bias: Tensor | None, residual: Tensor | None, *, gelu: bool
    ) -> Tensor:
        """Call :func:`~endofm.kernels.native_products.panel_product`."""
        return panel_product(rows, weight, bias, residual, gelu=gelu)


class AmxFloat32Backend(_CompiledBackend):
    """Float32 products on x86-64 processors whose matrix unit (AMX) multiplies bfloat16 only, by ``_products.c``.

    A float32 number is the sum of three bfloat16 numbers; the six largest of the nine products of two such sums,
    accumulated in float32, are as exact as a float32 product (Henry, Tang and Heinecke, arXiv 1904.06376).

    Infinity, and values that bfloat16 rounds to it (from 3.39e38), become not-a-number; values below 1.2e-38 become
    zero.
    """

    def pack(self, weight: Tensor) -> Tensor | None:
        """Return the weight in three parts, in the unit's order."""
        return None if any(size % BLOCK for size in weight.shape) else split_weight(weight)

    def product(
        self, rows: Tensor, weight: Tensor, bias: Tensor | None, residual: Tensor | None, *, gelu: bool
    ) -> Tensor:
        """Call :func:`~endofm.kernels.native_products.split_product`."""
        return split_product(rows, weight, bias, residual, gelu=gelu)


def split_weight(weight: Tensor) -> Tensor:
    """Split a weight ``(outputs, inputs)``, float32, both sizes multiples of :data:`~endofm.kernels.BLOCK`.

    Returns:
        bfloat16 ``(outputs / 32, inputs / 32, part, half, pair, output, 2)``: for each 32 outputs and 32 inputs, every
        one of the three parts as two tiles of 16 outputs, in which pairs of inputs are adjacent.
    """
    # w = p0 + p1 + p2: each part is the bfloat16 nearest to the remainder. The subtraction is exact in float32, because
    # the two numbers are within a factor of two (Sterbenz), so after three parts of 8 bits nothing of the 24 is left.
    # A product (p0 + p1 + p2) (q0 + q1 + q2) has nine terms p_i q_j of relative size 2^(-8 (i + j)). The kernel forms
    # the six with i + j <= 2; the three others are about 2^-24 of the product, which is float32's own rounding.
    parts, remainder = [], weight
    for _ in range(_PARTS):
        parts.append(remainder.bfloat16())
        remainder = remainder - parts[-1].float()
    outputs, inputs = weight.shape
    # A tile of the matrix unit has 16 rows of 64 bytes: for weights, a row holds two neighbouring inputs of 16 outputs.
    tiles = torch.stack(parts).view(_PARTS, outputs // BLOCK, 2, 16, inputs // BLOCK, 16, 2)
    return tiles.permute(1, 4, 0, 2, 5, 3, 6).contiguous()
