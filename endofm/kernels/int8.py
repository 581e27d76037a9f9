"""Linear layers in 8-bit integers, through oneDNN: for the CPU, where it has such products (VNNI, AMX).

Weights are rounded once, each output channel with a scale of its own. Inputs are rounded at every call with one scale
and zero point for the whole tensor, from its smallest and largest value. Sums are exact in 32 bits; the residual
stream stays in float32 and attention is worked out in bfloat16.
"""

from __future__ import annotations

import warnings
from functools import lru_cache

import torch
from torch import Tensor

from endofm.kernels.backend import Inference, Weights
from endofm.kernels.onednn import can_pack

_ROWS = 1568
_HIGHEST = 127


class Int8(Inference):
    """Products in 8-bit integers; :func:`can_multiply_int8` tells whether they can be had."""

    def __init__(self) -> None:
        super().__init__(torch.float32)
        # Attention reads what the queries, keys and values were rounded to anyway.
        self._unquantised = torch.bfloat16 if can_pack(torch.bfloat16) else torch.float32

    def prepare(self, weight: Tensor, bias: Tensor | None) -> Weights:
        """Round each row of the weight to whole numbers from -127 to 127 times a scale, and reorder them."""
        weight, bias, _ = super().prepare(weight, bias)
        scale = (weight.abs().amax(dim=1) / _HIGHEST).clamp_min(torch.finfo(torch.float32).tiny)
        rounded = (weight / scale[:, None]).round().to(torch.int8)
        return Weights(torch.ops.onednn.qlinear_prepack(rounded, [_ROWS, weight.shape[1]]), bias, scale)

    def multiply(self, x: Tensor, weights: Weights, *, gelu: bool) -> Tensor:
        """Return ``x @ weight.T + bias``: float32 after a GELU, for the next product, else bfloat16, for attention."""
        rows, step, zero = quantise(x.reshape(-1, x.shape[-1]))
        post, form, dtype = ("gelu", "none", torch.float32) if gelu else ("none", "", self._unquantised)
        out: Tensor = torch.ops.onednn.qlinear_pointwise(
            rows, step, zero, *_stored(weights), weights.bias, 1.0, 0, dtype, post, [], form
        )
        return out.view(*x.shape[:-1], -1)

    def multiply_add(self, x: Tensor, branch: Tensor, weights: Weights) -> Tensor:
        """Return ``x + branch @ weight.T + bias`` in float32."""
        rows, step, zero = quantise(branch.reshape(-1, branch.shape[-1]))
        stream = x.reshape(-1, x.shape[-1]).float()
        out: Tensor = torch.ops.onednn.qlinear_pointwise.binary(
            rows, step, zero, *_stored(weights), stream, weights.bias, 1.0, 0, torch.float32, 1.0, 0, "add", 1.0,
            "none", [], "",
        )  # fmt: skip
        return out.view(x.shape).to(x.dtype)


def quantise(x: Tensor) -> tuple[Tensor, float, int]:
    """Round to 8 bits over the whole range of the values.

    Args:
        x: Any shape, floating point.

    Returns:
        uint8 of the same shape, step and zero point: ``x`` is nearly ``step * (rounded - zero)``. Values that are not
        numbers make the step so.
    """
    x = x.float()
    low, high = (float(end) for end in x.aminmax())
    low, high = min(low, 0.0), max(high, 0.0)
    step = (high - low) / 255 or 1.0
    if not step < float("inf"):
        return torch.zeros_like(x, dtype=torch.uint8), float("nan"), 0
    zero = round(-low / step)
    return _round_to_bytes(x, step, zero), step, zero


def _round_to_bytes(x: Tensor, step: float, zero: int) -> Tensor:
    if not _has_fast_rounding():
        return x.div(step).round_().add_(zero).clamp_(0, 255).to(torch.uint8)
    held = torch.quantize_per_tensor(x, step, zero, torch.quint8)
    # The same bytes as plain whole numbers; ``int_repr`` would copy them.
    return torch.empty(0, dtype=torch.uint8).set_(held.untyped_storage(), 0, held.shape, held.stride())


@lru_cache
def _has_fast_rounding() -> bool:
    """Return whether PyTorch still has quantised tensors: they will go, but they round in one pass instead of five."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # It says so once per process.
            held = torch.quantize_per_tensor(torch.zeros(1), 1.0, 0, torch.quint8)
        return held.untyped_storage().nbytes() == 1
    except (RuntimeError, AttributeError, TypeError):
        return False


def _stored(weights: Weights) -> tuple[Tensor, Tensor, Tensor]:
    assert weights.scale is not None
    return weights.weight, weights.scale, torch.zeros_like(weights.scale, dtype=torch.int64)


@lru_cache
def can_multiply_int8() -> bool:
    """Return whether this build of PyTorch multiplies 8-bit integers on this processor without overflow."""
    weight, x = torch.ones(16, 64), torch.ones(3, 64)
    weight[1::2] = -1
    wanted = torch.tensor([64.0, -64.0]).repeat(8).expand(3, -1)
    try:
        arithmetic = Int8()
        weights = arithmetic.prepare(weight, None)
        found = arithmetic.multiply_add(torch.zeros(3, 16), x, weights), arithmetic.multiply(x, weights, gelu=True)
    except (RuntimeError, AttributeError, TypeError, NotImplementedError):
        return False
    # Without VNNI, sums of two such products overflow their 16 bits.
    pairs = zip(found, (wanted, wanted.clamp_min(0)), strict=True)
    return all(bool((one - other).abs().max() < 1) for one, other in pairs)
