"""Attention without gradients on x86-64 processors with AVX-512, compiled from ``_attention.c``.

Where they cannot be had (see :mod:`endofm.kernels.native`), :func:`fits` is False for everything; :func:`why_not`
tells what is missing.
"""

from __future__ import annotations

import ctypes
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from endofm.kernels.native import Library, load

HEAD_DIM = 64
"""Channels of a head; the kernels know no other number."""

_GRAIN = 4096
"""Scores that are worth a thread."""

_NAMES = {torch.float32: "attend_float32", torch.bfloat16: "attend_bfloat16"}
"""In the order of what ``attention_level`` counts."""


class _Job(ctypes.Structure):
    """``attention_job`` of ``_attention.c``."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("queries", "keys", "values", "out")),
        *((name, ctypes.c_int64) for name in ("heads", "tokens")),
        *((name, ctypes.c_int64) for name in ("sequence_stride", "head_stride", "token_stride")),
        *((name, ctypes.c_int64) for name in ("out_sequence_stride", "out_head_stride", "out_token_stride")),
        ("out_of_memory", ctypes.c_int64),
    )


class Kernels:
    """The kernels of a built file that this processor can run.

    Args:
        library: Built from ``_attention.c``.

    Raises:
        OSError: If the library, or that of PyTorch, cannot be loaded.
        AttributeError: If one of them lacks what it should have.

    Attributes:
        dtypes: The types that can be had here.
    """

    def __init__(self, library: Path) -> None:
        self._library = Library(library)
        self.dtypes = tuple(_NAMES)[: self._library.functions.attention_level()]

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Do what :func:`attend` says."""
        sequences, heads, tokens, _ = q.shape
        if q.stride(0) < q.stride(2):
            out = q.new_empty(tokens, sequences, heads, HEAD_DIM).permute(1, 2, 0, 3)
        else:
            out = q.new_empty(sequences, tokens, heads, HEAD_DIM).transpose(1, 2)
        strides = (stride * q.element_size() for x in (q, out) for stride in x.stride()[:3])
        job = _Job(*(x.data_ptr() for x in (q, k, v, out)), heads, tokens, *strides, 0)
        self._library.run(_NAMES[q.dtype], sequences * heads, job, grain=max(1, _GRAIN // tokens**2))
        if job.out_of_memory:
            raise MemoryError(f"no memory left to attend over {tokens} tokens")
        return out


def fits(q: Tensor, k: Tensor, v: Tensor) -> bool:
    """Return whether :func:`attend` can be asked for these tensors, here."""
    kernels = _installed()
    return (
        isinstance(kernels, Kernels)
        and q.device.type == "cpu"
        and q.dtype in kernels.dtypes
        and q.shape == k.shape == v.shape
        and q.stride() == k.stride() == v.stride()
        and q.shape[3] == HEAD_DIM
        and q.stride(3) == 1
        and q.numel() > 0
    )


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attend within sequences; the scores are scaled by ``HEAD_DIM ** -0.5``. Without gradients.

    Args:
        q: Queries ``(sequences, heads, tokens, HEAD_DIM)`` that :func:`fits` accepts, float32 or bfloat16.
        k: Keys, of the same shape and strides.
        v: Values, likewise.

    Returns:
        Like ``q``; in memory heads lie side by side, and tokens and sequences in the order that they have in ``q``.
    """
    out: Tensor = torch.ops.endofm.attend(q, k, v)
    return out


def why_not() -> str | None:
    """Return why there are no compiled kernels here; None if there are."""
    kernels = _installed()
    return kernels if isinstance(kernels, str) else None


@lru_cache
def _installed() -> Kernels | str:
    kernels = load("endofm.kernels._attention", Kernels)
    if isinstance(kernels, Kernels) and not kernels.dtypes:
        return "this processor has no AVX-512, or the compiler did not know it"
    return kernels


def _attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    kernels = _installed()
    assert isinstance(kernels, Kernels)
    return kernels.attend(q, k, v)


# An operator rather than a plain function, so that PyTorch's profiler and transforms know of it.
_OPERATORS = torch.library.Library("endofm", "FRAGMENT")  # type: ignore[no-untyped-call]
_OPERATORS.define("attend(Tensor q, Tensor k, Tensor v) -> Tensor")  # type: ignore[no-untyped-call]
_OPERATORS.impl("attend", _attend, "CPU")  # type: ignore[no-untyped-call]
