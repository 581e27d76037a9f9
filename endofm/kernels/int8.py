"""Linear layers in 8-bit integers on CPUs: through oneDNN where they multiply bytes (VNNI, AMX), else widened (AVX2).

Weights are rounded once, with one scale per output channel. Inputs are rounded at every call, with one scale and zero
point for the whole tensor, from its smallest and largest value. Sums are exact in 32 bits; the residual stream stays
in float32 and attention is computed in bfloat16.
"""

from __future__ import annotations

import warnings
from functools import lru_cache

import torch
from torch import Tensor

from endofm.kernels.backend import TYPICAL_ROWS, FoldedBackend, LinearWeights, can_prepack
from endofm.kernels.native_products import PANEL, pack_panels, panel_product, panels_available

_LARGEST = 127
"""Largest magnitude of a rounded weight; -128 is unused, so that the range is symmetric."""


class Int8Backend(FoldedBackend):
    """Products in 8-bit integers by oneDNN, on processors with VNNI or AMX."""

    def __init__(self) -> None:
        super().__init__(torch.float32)
        # Attention takes queries, keys and values that come from 8-bit inputs: float32 would keep nothing more.
        self._unquantised = torch.bfloat16 if can_prepack(torch.bfloat16) else torch.float32

    def prepare(self, weight: Tensor, bias: Tensor | None) -> LinearWeights:
        """Round each row of the weight to integers from -127 to 127 times a scale, and reorder them."""
        weight, bias, _ = super().prepare(weight, bias)
        rounded, scale = _round_weight(weight)
        packed = torch.ops.onednn.qlinear_prepack(rounded, [TYPICAL_ROWS, weight.shape[1]])
        return LinearWeights(packed, bias, scale)

    def multiply(self, x: Tensor, weights: LinearWeights, *, gelu: bool) -> Tensor:
        """Return ``x @ weight.T + bias``: float32 after a GELU, for the next product, else bfloat16, for attention."""
        # With x = step * (rows - zero) and weight = scale * rounded, the sum over inputs is
        # step * scale * (rows @ rounded.T - zero * rounded.sum(1)): integers inside, one factor per output outside.
        rows, step, zero = quantise(x.reshape(-1, x.shape[-1]))
        pointwise, algorithm, dtype = ("gelu", "none", torch.float32) if gelu else ("none", "", self._unquantised)
        out: Tensor = torch.ops.onednn.qlinear_pointwise(
            rows, step, zero, *_operands(weights), weights.bias, 1.0, 0, dtype, pointwise, [], algorithm
        )
        return out.view(*x.shape[:-1], -1)

    def multiply_add(self, x: Tensor, branch: Tensor, weights: LinearWeights) -> Tensor:
        """Return ``x + branch @ weight.T + bias`` in float32."""
        rows, step, zero = quantise(branch.reshape(-1, branch.shape[-1]))
        residual = x.reshape(-1, x.shape[-1]).float()
        out: Tensor = torch.ops.onednn.qlinear_pointwise.binary(
            rows, step, zero, *_operands(weights), residual, weights.bias, 1.0, 0, torch.float32, 1.0, 0, "add", 1.0,
            "none", [], "",
        )  # fmt: skip
        return out.view(x.shape).to(x.dtype)


class PanelInt8Backend(Int8Backend):
    """The same products of integers by :func:`~endofm.kernels.native_products.panel_product`, on processors with AVX2.

    oneDNN's products of bytes saturate there. Integers are widened to 16 bits and their sums are exact; attention is
    computed in float32.
    """

    def prepare(self, weight: Tensor, bias: Tensor | None) -> LinearWeights:
        """Round each row of the weight as for oneDNN, and bring the integers into panels."""
        if len(weight) % PANEL:
            return FoldedBackend.prepare(self, weight, bias)
        rounded, scale = _round_weight(weight.float())
        return LinearWeights(pack_panels(rounded), None if bias is None else bias.float().contiguous(), scale)

    def multiply(self, x: Tensor, weights: LinearWeights, *, gelu: bool) -> Tensor:
        """Return ``x @ weight.T + bias`` in float32, followed by a GELU if requested."""
        if weights.scale is None:
            return FoldedBackend.multiply(self, x, weights, gelu=gelu)
        return self._product(x, None, weights, gelu=gelu).view(*x.shape[:-1], -1)

    def multiply_add(self, x: Tensor, branch: Tensor, weights: LinearWeights) -> Tensor:
        """Return ``x + branch @ weight.T + bias`` in float32."""
        if weights.scale is None:
            return FoldedBackend.multiply_add(self, x, branch, weights)
        residual = x.reshape(-1, x.shape[-1]).float()
        return self._product(branch, residual, weights, gelu=False).view(x.shape).to(x.dtype)

    def _product(self, x: Tensor, residual: Tensor | None, weights: LinearWeights, *, gelu: bool) -> Tensor:
        rows = x.reshape(-1, x.shape[-1]).float()
        step, zero = _byte_range(rows)
        return panel_product(
            rows, weights.weight, weights.bias, residual, gelu=gelu, scale=weights.scale, step=step, zero=zero
        )


def quantise(x: Tensor) -> tuple[Tensor, float, int]:
    """Round to 8 bits over the full range of the values.

    Args:
        x: Any shape, floating point.

    Returns:
        uint8 of the same shape, step and zero point: ``x`` is nearly ``step * (rounded - zero)``. The step is
        not-a-number if one of the values is not finite, so that the result shows it.
    """
    x = x.float()
    step, zero = _byte_range(x)
    if not step < float("inf"):
        return torch.zeros_like(x, dtype=torch.uint8), step, zero
    return _round_to_bytes(x, step, zero), step, zero


def _byte_range(x: Tensor) -> tuple[float, int]:
    """Return step and zero point of :func:`quantise`."""
    low, high = (float(end) for end in x.aminmax())
    # The range includes 0, which is then an integer itself: padding and inactive channels stay exactly 0.
    low, high = min(low, 0.0), max(high, 0.0)
    step = (high - low) / 255 or 1.0
    return (step, round(-low / step)) if step < float("inf") else (float("nan"), 0)


def _round_weight(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return int8 of the same shape and a scale per row: ``weight[o]`` is nearly ``scale[o] * rounded[o]``."""
    # One scale per output channel, because it can be applied to the sum of that channel; a row of zeros gets the
    # smallest scale instead of a division by zero.
    scale = (weight.abs().amax(dim=1) / _LARGEST).clamp_min(torch.finfo(torch.float32).tiny)
    return (weight / scale[:, None]).round().to(torch.int8), scale


def _round_to_bytes(x: Tensor, step: float, zero: int) -> Tensor:
    if not _has_fast_rounding():
        return x.div(step).round_().add_(zero).clamp_(0, 255).to(torch.uint8)
    held = torch.quantize_per_tensor(x, step, zero, torch.quint8)
    # The same bytes seen as plain integers; ``int_repr`` would copy them.
    return torch.empty(0, dtype=torch.uint8).set_(held.untyped_storage(), 0, held.shape, held.stride())


@lru_cache
def _has_fast_rounding() -> bool:
    """Return whether PyTorch still has quantised tensors: deprecated, but they round in one pass instead of five."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch announces the deprecation once per process.
            held = torch.quantize_per_tensor(torch.zeros(1), 1.0, 0, torch.quint8)
        return held.untyped_storage().nbytes() == 1
    except (RuntimeError, AttributeError, TypeError):
        return False


def _operands(weights: LinearWeights) -> tuple[Tensor, Tensor, Tensor]:
    """Return weight, scales and zero points (all 0, as the weights' range is symmetric)."""
    assert weights.scale is not None
    return weights.weight, weights.scale, torch.zeros_like(weights.scale, dtype=torch.int64)


def int8_backend() -> Int8Backend:
    """Return a new backend of the fastest kind that multiplies 8-bit integers here; see :func:`can_multiply_int8`."""
    return Int8Backend() if _is_exact(Int8Backend) else PanelInt8Backend()


def can_multiply_int8() -> bool:
    """Return whether 8-bit integers are multiplied on this processor without overflow."""
    return _is_exact(Int8Backend) or panels_available()


@lru_cache
def _is_exact(kind: type[Int8Backend]) -> bool:
    weight, x = torch.ones(16, 64), torch.ones(3, 64)
    weight[1::2] = -1
    expected = torch.tensor([64.0, -64.0]).repeat(8).expand(3, -1)
    try:
        backend = kind()
        weights = backend.prepare(weight, None)
        results = backend.multiply_add(torch.zeros(3, 16), x, weights), backend.multiply(x, weights, gelu=True)
    except (RuntimeError, AttributeError, TypeError, NotImplementedError):
        return False
    # Without VNNI, pairs of products are added in 16 bits with saturation: 2 * 255 * 127 does not fit.
    pairs = zip(results, (expected, expected.clamp_min(0)), strict=True)
    return all(bool((one - other).abs().max() < 1) for one, other in pairs)
