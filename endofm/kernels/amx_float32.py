"""Linear layers in float32 on x86-64 processors whose matrix unit (AMX) multiplies bfloat16 and no float32.

A float32 number is the sum of three bfloat16 numbers; the six largest of the nine products of two such sums, added up
in float32, are as exact as a product in float32 (Henry, Tang and Heinecke, arXiv 1904.06376). The kernel is compiled
from ``_products.c``; where it cannot be had (see :mod:`endofm.kernels.native`), :func:`can_split` is False and
:func:`why_not` tells what is missing.
"""

from __future__ import annotations

import ctypes
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from endofm.kernels.backend import Weights
from endofm.kernels.native import Library, load
from endofm.kernels.onednn import Packed

BLOCK = 32
"""Inputs and outputs are multiples of this; so many rows are worked out at once."""

_PARTS = 3
_TASKS_PER_THREAD = 4
"""So many at least, that no thread has much more to do than another."""


class _Job(ctypes.Structure):
    """``product_job`` of ``_products.c``."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("input", "weights", "bias", "residual", "out")),
        *((name, ctypes.c_int64) for name in ("rows", "inputs", "outputs", "groups", "gelu", "out_of_memory")),
    )


class Kernels:
    """The kernel of a built file.

    Args:
        library: Built from ``_products.c``.

    Raises:
        OSError: If the library, or that of PyTorch, cannot be loaded.
        AttributeError: If one of them lacks what it should have.

    Attributes:
        usable: Whether this processor has the matrix unit, and the system lets this process use it.
    """

    def __init__(self, library: Path) -> None:
        self._library = Library(library)
        self.usable = bool(self._library.functions.products_level())

    def multiply(
        self, rows: Tensor, weights: Tensor, bias: Tensor | None, residual: Tensor | None, *, gelu: bool
    ) -> Tensor:
        """Do what :func:`multiply` says."""
        rows, residual = rows.contiguous(), None if residual is None else residual.contiguous()
        count, inputs = rows.shape
        columns = len(weights)
        out = rows.new_empty(count, columns * BLOCK)
        blocks = -(-count // BLOCK)
        if blocks == 0:
            return out
        groups = min(columns, -(-_TASKS_PER_THREAD * torch.get_num_threads() // blocks))
        tensors = (rows, weights, bias, residual, out)
        addresses = (None if x is None else x.data_ptr() for x in tensors)
        job = _Job(*addresses, count, inputs, columns * BLOCK, groups, gelu, 0)
        self._library.run("multiply", groups * blocks, job)
        if job.out_of_memory:
            raise MemoryError(f"no memory left to multiply {count} rows")
        return out


class Split(Packed):
    """Products of float32 through the matrix unit; layers of odd widths are multiplied by oneDNN.

    Infinity, and what bfloat16 rounds to it (from 3.39e38 on), becomes not-a-number; below 1.2e-38 all is zero.
    """

    def __init__(self) -> None:
        super().__init__(torch.float32)

    def prepare(self, weight: Tensor, bias: Tensor | None) -> Weights:
        """Split the weights and bring them into the unit's order."""
        if any(size % BLOCK for size in weight.shape):
            return super().prepare(weight, bias)
        return Weights(pack(weight.float()), None if bias is None else bias.float().contiguous())

    def multiply(self, x: Tensor, weights: Weights, *, gelu: bool) -> Tensor:
        """Return ``x @ weight.T + bias``, with a GELU if asked for."""
        if not _is_split(weights):
            return super().multiply(x, weights, gelu=gelu)
        rows = x.reshape(-1, x.shape[-1])
        return multiply(rows, weights.weight, weights.bias, None, gelu=gelu).view(*x.shape[:-1], -1)

    def multiply_add(self, x: Tensor, branch: Tensor, weights: Weights) -> Tensor:
        """Return ``x + branch @ weight.T + bias``."""
        if not _is_split(weights):
            return super().multiply_add(x, branch, weights)
        rows, stream = branch.reshape(-1, branch.shape[-1]), x.reshape(-1, x.shape[-1])
        return multiply(rows, weights.weight, weights.bias, stream, gelu=False).view(x.shape)


def pack(weight: Tensor) -> Tensor:
    """Split a weight ``(outputs, inputs)``, float32 and both multiples of :data:`BLOCK`.

    Returns:
        bfloat16 ``(outputs / 32, inputs / 32, part, half, pair, output, 2)``: of 32 outputs and 32 inputs, each of
        three parts as two tiles of 16 outputs, in which pairs of inputs lie side by side.
    """
    parts, rest = [], weight
    for _ in range(_PARTS):
        parts.append(rest.bfloat16())
        rest = rest - parts[-1].float()
    outputs, inputs = weight.shape
    tiles = torch.stack(parts).view(_PARTS, outputs // BLOCK, 2, 16, inputs // BLOCK, 16, 2)
    return tiles.permute(1, 4, 0, 2, 5, 3, 6).contiguous()


def multiply(rows: Tensor, weights: Tensor, bias: Tensor | None, residual: Tensor | None, *, gelu: bool) -> Tensor:
    """Return ``rows @ weight.T + bias``, then an exact (erf) GELU, then plus a residual, each if asked for.

    Args:
        rows: ``(rows, inputs)``, float32 on the CPU.
        weights: From :func:`pack`.
        bias: ``(outputs,)``, float32, or None.
        residual: ``(rows, outputs)``, float32, or None.
        gelu: Apply the GELU.

    Returns:
        ``(rows, outputs)``, float32. Sums are rounded in an order of their own, which does not depend on the threads.
    """
    out: Tensor = torch.ops.endofm.split_product(rows, weights, bias, residual, gelu)
    return out


def can_split() -> bool:
    """Return whether the kernel can be had here."""
    return isinstance(_installed(), Kernels)


def why_not() -> str | None:
    """Return why the kernel cannot be had here; None if it can."""
    kernels = _installed()
    return kernels if isinstance(kernels, str) else None


@lru_cache
def _installed() -> Kernels | str:
    kernels = load("endofm.kernels._products", Kernels)
    if isinstance(kernels, Kernels) and not kernels.usable:
        return "this processor has no AMX, the system withholds it, or the compiler did not know it"
    return kernels


def _is_split(weights: Weights) -> bool:
    return weights.weight.dtype is torch.bfloat16


def _multiply(rows: Tensor, weights: Tensor, bias: Tensor | None, residual: Tensor | None, gelu: bool) -> Tensor:
    kernels = _installed()
    assert isinstance(kernels, Kernels)
    return kernels.multiply(rows, weights, bias, residual, gelu=gelu)


# An operator rather than a plain function, so that PyTorch's profiler and transforms know of it.
_OPERATORS = torch.library.Library("endofm", "FRAGMENT")  # type: ignore[no-untyped-call]
_OPERATORS.define(  # type: ignore[no-untyped-call]
    "split_product(Tensor rows, Tensor weights, Tensor? bias, Tensor? residual, bool gelu) -> Tensor"
)
_OPERATORS.impl("split_product", _multiply, "CPU")  # type: ignore[no-untyped-call]
