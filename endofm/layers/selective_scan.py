"""The scan of selective state spaces (Mamba, arXiv 2312.00752): in plain PyTorch, or by ``mamba_ssm`` on a GPU."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

_VALUES = 2**18
"""Values of the states that a part of the sequence has at most, so that they stay in a processor's second cache."""

_SHORTEST, _LONGEST = 4, 64
"""Limits on the steps of a part."""


def selective_scan(
    x: Tensor, step: Tensor, decay: Tensor, into: Tensor, out: Tensor, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Run ``h = exp(step * decay) * h + step * x * into`` and read ``sum(h * out)`` at every step.

    On a GPU the kernel of ``mamba_ssm`` is used where that package is installed.

    Args:
        x: Input, ``(sequences, length, channels)``.
        step: Step sizes, of the same shape.
        decay: Negative rates, ``(channels, state)``.
        into: Weights of the input, ``(sequences, length, state)``.
        out: Weights of the output, of the same shape.
        state: ``h`` before the first step, ``(sequences, state, channels)``; zeros by default.

    Returns:
        ``(sequences, length, channels)``, and ``h`` after the last step.
    """
    kernel = _fused_kernel() if x.is_cuda else None
    if kernel is not None:
        return fused_scan(kernel, x, step, decay, into, out, state)
    return chunked_scan(x, step, decay, into, out, state)


def chunked_scan(
    x: Tensor, step: Tensor, decay: Tensor, into: Tensor, out: Tensor, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Compute :func:`selective_scan` with operators of PyTorch, part of the sequence by part.

    Decays, inputs and outputs of a part are computed at once, for all its steps; only the recurrence is a loop.
    """
    rates = _binary_rates(decay)
    if state is None:
        state = x.new_zeros(x.shape[0], *rates.shape)
    driven = step * x
    # Written to in place where no gradient needs the values that were there.
    recording = torch.is_grad_enabled() and (driven.requires_grad or rates.requires_grad or into.requires_grad)
    length = min(max(_VALUES // max(state.numel(), 1), _SHORTEST), _LONGEST)
    outputs = []
    for first in range(0, x.shape[1], length):
        part = slice(first, first + length)
        # Channels come last, so that every operator runs along many of them.
        kept = torch.exp2(step[:, part, None] * rates)
        states = driven[:, part, None] * into[:, part, :, None]
        each = []
        for decayed, added in zip(kept.unbind(1), states.unbind(1), strict=True):
            state = torch.addcmul(added, decayed, state) if recording else added.addcmul_(decayed, state)
            each.append(state)
        states = torch.stack(each, dim=1) if recording else states
        outputs.append(torch.matmul(out[:, part, None], states).squeeze(2))
    # A copy, because the state is part of a buffer of all steps.
    return torch.cat(outputs, dim=1), state if recording else state.clone()


def fused_scan(
    kernel: Callable[..., Any],
    x: Tensor,
    step: Tensor,
    decay: Tensor,
    into: Tensor,
    out: Tensor,
    state: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Compute :func:`selective_scan` by ``selective_scan_fn`` of ``mamba_ssm``.

    The kernel starts from zero. The scan is linear in its state, so that what an earlier state becomes is added.
    """
    sequences = [tensor.transpose(1, 2).contiguous() for tensor in (x, step, into, out)]
    found, last = kernel(sequences[0], sequences[1], decay, *sequences[2:], return_last_state=True)
    found, last = found.transpose(1, 2), last.transpose(1, 2)
    if state is None:
        return found, last
    kept = torch.exp2(step.cumsum(1)[:, :, None] * _binary_rates(decay)) * state[:, None]
    return found + torch.matmul(out[:, :, None], kept).squeeze(2), last + kept[:, -1]


def _binary_rates(decay: Tensor) -> Tensor:
    """Return rates for powers of two, which processors compute several times faster than those of e."""
    return (decay / math.log(2)).t().contiguous()


@cache
def _fused_kernel() -> Callable[..., Any] | None:
    """Return the kernel of ``mamba_ssm``, None where it is not installed or does not fit this build of PyTorch."""
    try:
        from mamba_ssm.ops.selective_scan_interface import selective_scan_fn
    except (ImportError, OSError, RuntimeError):
        return None
    kernel: Callable[..., Any] = selective_scan_fn
    return kernel
