"""C kernels on PyTorch's threads, and attention by them.

The kernels are compiled when the package is installed, if there is a C compiler. ``_attention.c`` is softmax attention
for x86-64 processors with AVX2 or AVX-512 and for 64-bit ARM; products are in :mod:`endofm.kernels.native_products`.
PyTorch offers its threads through its stable C interface (``torch_parallel_for``, since 2.10). Where the compiler,
PyTorch or the processor lacks something, :func:`why_no_attention` returns the reason, and
:mod:`endofm.kernels.composed_attention` does the work where PyTorch's fused attention is slow.
"""

from __future__ import annotations

import ctypes
import importlib.util
import platform
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

HEAD_DIM = 64
"""Channels per head that the attention kernels are compiled for."""

_SCORES_PER_TASK = 4096
"""Attention scores that are worth waking a thread for."""

_LANES = {"AVX512": 16, "AVX2": 8, "DEFAULT": 0}
"""Float32 numbers in the registers of the instructions that PyTorch uses on an x86-64 processor."""

T = TypeVar("T")


class NativeLibrary:
    """A compiled C file.

    Args:
        path: The shared library.

    Raises:
        OSError: If the library, or PyTorch's own, cannot be loaded.
        AttributeError: If this version of PyTorch does not offer its threads.
    """

    def __init__(self, path: Path) -> None:
        self.functions = ctypes.CDLL(str(path))
        self._parallel_for = ctypes.CDLL(
            str(Path(torch.__file__).parent / "lib" / "libtorch_cpu.so")
        ).torch_parallel_for
        self._parallel_for.argtypes = (*[ctypes.c_int64] * 3, ctypes.c_void_p, ctypes.c_void_p)

    def run(self, name: str, tasks: int, job: ctypes.Structure, *, grain: int = 1) -> None:
        """Call a function ``void name(int64_t begin, int64_t end, void *job)`` from PyTorch's threads.

        Args:
            name: Name of the function.
            tasks: Number of tasks; each call covers the tasks ``begin .. end - 1``.
            job: Passed to every call.
            grain: Tasks that are worth a thread.

        Raises:
            RuntimeError: If PyTorch could not run it.
        """
        function = ctypes.cast(getattr(self.functions, name), ctypes.c_void_p)
        if self._parallel_for(0, tasks, grain, function, ctypes.addressof(job)):
            raise RuntimeError(f"PyTorch could not run the kernel {name} on its threads")


class _AttentionJob(ctypes.Structure):
    """``attention_job`` of ``_attention.c``."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("queries", "keys", "values", "out")),
        *((name, ctypes.c_int64) for name in ("heads", "tokens")),
        *((name, ctypes.c_int64) for name in ("sequence_stride", "head_stride", "token_stride")),
        *((name, ctypes.c_int64) for name in ("out_sequence_stride", "out_head_stride", "out_token_stride")),
        ("out_of_memory", ctypes.c_int64),
    )


class AttentionKernels:
    """Attention kernels of a compiled file that this processor can run.

    Args:
        path: Library compiled from ``_attention.c``.
        most_lanes: Largest number of float32 numbers in a register that may be used.

    Raises:
        OSError: If the library, or PyTorch's, cannot be loaded.
        AttributeError: If one of them lacks a function.

    Attributes:
        lanes: Float32 numbers in a register: 16 (AVX-512), 8 (AVX2), 4 (ARM), or 0 where there is no kernel.
        dtypes: Types that the kernels compute in on this processor.
    """

    def __init__(self, path: Path, most_lanes: int = 16) -> None:
        self._library = NativeLibrary(path)
        functions = self._library.functions
        self.lanes = min(int(functions.attention_lanes()), most_lanes)
        self._names = {torch.float32: f"attend_float32_{self.lanes}"} if self.lanes else {}
        if self.lanes == 16 and functions.attention_bfloat16():
            self._names[torch.bfloat16] = "attend_bfloat16"
        self.dtypes = tuple(self._names)

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attend; arguments and result are those of :func:`attend`."""
        sequences, heads, tokens, _ = q.shape
        # Attention over time strides over tokens first. The result keeps the order of its input, so that joining the
        # heads is a view.
        if q.stride(0) < q.stride(2):
            out = q.new_empty(tokens, sequences, heads, HEAD_DIM).permute(1, 2, 0, 3)
        else:
            out = q.new_empty(sequences, tokens, heads, HEAD_DIM).transpose(1, 2)
        job = _AttentionJob()
        job.queries, job.keys, job.values, job.out = q.data_ptr(), k.data_ptr(), v.data_ptr(), out.data_ptr()
        job.heads, job.tokens, size = heads, tokens, q.element_size()
        job.sequence_stride, job.head_stride, job.token_stride = (stride * size for stride in q.stride()[:3])
        job.out_sequence_stride, job.out_head_stride, job.out_token_stride = (s * size for s in out.stride()[:3])
        grain = max(1, _SCORES_PER_TASK // tokens**2)
        self._library.run(self._names[q.dtype], sequences * heads, job, grain=grain)
        if job.out_of_memory:
            raise MemoryError(f"no memory left to attend over {tokens} tokens")
        return out


def attention_fits(q: Tensor, k: Tensor, v: Tensor) -> bool:
    """Return whether :func:`attend` takes these tensors on this machine."""
    kernels = _attention_kernels()
    return (
        isinstance(kernels, AttentionKernels)
        and q.device.type == "cpu"
        and q.dtype in kernels.dtypes
        and q.shape == k.shape == v.shape
        and q.stride() == k.stride() == v.stride()
        and q.shape[3] == HEAD_DIM
        and q.stride(3) == 1
        and q.numel() > 0
    )


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attend within sequences, with scores scaled by ``HEAD_DIM ** -0.5``; without gradients.

    Args:
        q: Queries ``(sequences, heads, tokens, HEAD_DIM)`` that :func:`attention_fits` accepts, float32 or bfloat16.
        k: Keys, of the same shape and strides.
        v: Values, of the same shape and strides.

    Returns:
        Same shape and type as ``q``; in memory the heads of a token are adjacent, tokens and sequences in the order
        that they have in ``q``.
    """
    out: Tensor = torch.ops.endofm.attend(q, k, v)
    return out


def attention_lanes() -> int:
    """Return how many float32 numbers the attention kernels process at a time; 0 if they are unavailable."""
    kernels = _attention_kernels()
    return kernels.lanes if isinstance(kernels, AttentionKernels) else 0


def why_no_attention() -> str | None:
    """Return why the attention kernels are unavailable; None if they are available."""
    kernels = _attention_kernels()
    return kernels if isinstance(kernels, str) else None


@lru_cache
def _attention_kernels() -> AttentionKernels | str:
    """Return the installed attention kernels, or the reason why there are none."""
    kernels = load_library("endofm.kernels._attention", lambda path: AttentionKernels(path, most_lanes()))
    if isinstance(kernels, AttentionKernels) and not kernels.dtypes:
        return "this processor has neither AVX2 nor ARM's vectors, or the compiler did not support it"
    return kernels


def most_lanes() -> int:
    """Return how many float32 numbers fit the widest registers that PyTorch uses; 16 on other processors than x86-64.

    PyTorch's own limit (``ATEN_CPU_CAPABILITY``) so holds for all kernels.
    """
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return 16
    return _LANES.get(torch.backends.cpu.get_cpu_capability(), 16)


def load_library(module: str, make: Callable[[Path], T]) -> T | str:
    """Load a library that was compiled with the package, or return the reason why that is impossible.

    Args:
        module: Full name under which the library is installed.
        make: Wraps the file of the library.
    """
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        return "not built: the package was installed without a C compiler, or is used without being installed"
    try:
        return make(Path(spec.origin))
    except OSError as error:
        return f"cannot be loaded: {error}"
    except AttributeError:
        return f"PyTorch {torch.__version__} cannot run them; version 2.10 and later can"


def _attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    kernels = _attention_kernels()
    assert isinstance(kernels, AttentionKernels)
    return kernels.attend(q, k, v)


# Operators rather than plain functions, so that PyTorch's profiler and transforms see them.
OPERATORS = torch.library.Library("endofm", "FRAGMENT")  # type: ignore[no-untyped-call]
OPERATORS.define("attend(Tensor q, Tensor k, Tensor v) -> Tensor")  # type: ignore[no-untyped-call]
OPERATORS.impl("attend", _attend, "CPU")  # type: ignore[no-untyped-call]
