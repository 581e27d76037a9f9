"""Attention and products on a CPU: by C kernels on PyTorch's threads, and attention without them by batched products.

The kernels are compiled when the package is installed, if there is a C compiler. ``_attention.c`` is softmax attention
for x86-64 processors with AVX-512, ``_products.c`` float32 products for those with AMX. PyTorch offers its threads
through its stable C interface (``torch_parallel_for``, since 2.10). Where the compiler, PyTorch or the processor lacks
something, :func:`why_no_attention` and :func:`why_no_products` return the reason; :func:`matmul_attention` and
:func:`short_attention` then do the work where PyTorch's fused attention is slow.
"""

from __future__ import annotations

import ctypes
import importlib.util
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

HEAD_DIM = 64
"""Channels per head that the attention kernels are compiled for."""

BLOCK = 32
"""The numbers of inputs and outputs of a split product are multiples of this; so many rows are computed at once."""

_SCORES_PER_TASK = 4096
"""Attention scores that are worth waking a thread for."""

_TASKS_PER_THREAD = 4
"""Tasks per thread, at least, so that no thread has much more to do than another."""

_ATTENTION_FUNCTIONS = {torch.float32: "attend_float32", torch.bfloat16: "attend_bfloat16"}
"""In the order in which ``attention_level`` counts them."""

SHORT = 16
"""Number of tokens up to which sequences are short: :func:`short_attention` is for them."""

_SCORES_AT_ONCE = 2**19
"""Scores per step of :func:`matmul_attention`; in bfloat16 they stay in a core's second-level cache."""

_QUERIES_AT_ONCE = 2**18
"""Numbers in the queries per step of :func:`short_attention`, chosen for the same reason."""

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

    Raises:
        OSError: If the library, or PyTorch's, cannot be loaded.
        AttributeError: If one of them lacks a function.

    Attributes:
        dtypes: Types that the kernels compute in on this processor.
    """

    def __init__(self, path: Path) -> None:
        self._library = NativeLibrary(path)
        self.dtypes = tuple(_ATTENTION_FUNCTIONS)[: self._library.functions.attention_level()]

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
        self._library.run(_ATTENTION_FUNCTIONS[q.dtype], sequences * heads, job, grain=grain)
        if job.out_of_memory:
            raise MemoryError(f"no memory left to attend over {tokens} tokens")
        return out


class _ProductJob(ctypes.Structure):
    """``product_job`` of ``_products.c``."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("input", "weights", "bias", "residual", "out")),
        *((name, ctypes.c_int64) for name in ("rows", "inputs", "outputs", "groups", "gelu", "out_of_memory")),
    )


class ProductKernels:
    """Product kernel of a compiled file.

    Args:
        path: Library compiled from ``_products.c``.

    Raises:
        OSError: If the library, or PyTorch's, cannot be loaded.
        AttributeError: If one of them lacks a function.

    Attributes:
        usable: Whether this processor has the matrix unit and the system lets this process use it.
    """

    def __init__(self, path: Path) -> None:
        self._library = NativeLibrary(path)
        self.usable = bool(self._library.functions.products_level())

    def multiply(
        self, rows: Tensor, weights: Tensor, bias: Tensor | None, residual: Tensor | None, *, gelu: bool
    ) -> Tensor:
        """Multiply; arguments and result are those of :func:`split_product`."""
        rows, residual = rows.contiguous(), None if residual is None else residual.contiguous()
        count, inputs = rows.shape
        columns = len(weights)
        out = rows.new_empty(count, columns * BLOCK)
        blocks = -(-count // BLOCK)
        if blocks == 0:
            return out
        # A task is one block of rows and one group of outputs. Few rows need several groups to occupy all threads.
        groups = min(columns, -(-_TASKS_PER_THREAD * torch.get_num_threads() // blocks))
        job = _ProductJob()
        job.input, job.weights, job.out = rows.data_ptr(), weights.data_ptr(), out.data_ptr()
        job.bias = None if bias is None else bias.data_ptr()
        job.residual = None if residual is None else residual.data_ptr()
        job.rows, job.inputs, job.outputs, job.groups, job.gelu = count, inputs, columns * BLOCK, groups, gelu
        self._library.run("multiply", groups * blocks, job)
        if job.out_of_memory:
            raise MemoryError(f"no memory left to multiply {count} rows")
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


def split_product(rows: Tensor, weights: Tensor, bias: Tensor | None, residual: Tensor | None, *, gelu: bool) -> Tensor:
    """Return ``rows @ weight.T + bias``, then an exact (erf) GELU, then plus a residual, each if requested.

    Args:
        rows: ``(rows, inputs)``, float32 on the CPU.
        weights: Weight ``(outputs, inputs)`` in the form of :func:`~endofm.kernels.backend.split_weight`.
        bias: ``(outputs,)``, float32, or None.
        residual: ``(rows, outputs)``, float32, or None.
        gelu: Apply the GELU.

    Returns:
        ``(rows, outputs)``, float32. The order of summation, and so the rounding, differs from PyTorch's; it does not
        depend on the number of threads.
    """
    out: Tensor = torch.ops.endofm.split_product(rows, weights, bias, residual, gelu)
    return out


def products_available() -> bool:
    """Return whether :func:`split_product` works on this machine."""
    return isinstance(_product_kernels(), ProductKernels)


def why_no_attention() -> str | None:
    """Return why the attention kernels are unavailable; None if they are available."""
    kernels = _attention_kernels()
    return kernels if isinstance(kernels, str) else None


def why_no_products() -> str | None:
    """Return why the product kernel is unavailable; None if it is available."""
    kernels = _product_kernels()
    return kernels if isinstance(kernels, str) else None


@lru_cache
def _attention_kernels() -> AttentionKernels | str:
    """Return the installed attention kernels, or the reason why there are none."""
    kernels = _load("endofm.kernels._attention", AttentionKernels)
    if isinstance(kernels, AttentionKernels) and not kernels.dtypes:
        return "this processor has no AVX-512, or the compiler did not support it"
    return kernels


@lru_cache
def _product_kernels() -> ProductKernels | str:
    """Return the installed product kernel, or the reason why there is none."""
    kernels = _load("endofm.kernels._products", ProductKernels)
    if isinstance(kernels, ProductKernels) and not kernels.usable:
        return "this processor has no AMX, the system withholds it, or the compiler did not support it"
    return kernels


def _load(module: str, make: Callable[[Path], T]) -> T | str:
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


def _split_product(rows: Tensor, weights: Tensor, bias: Tensor | None, residual: Tensor | None, gelu: bool) -> Tensor:
    kernels = _product_kernels()
    assert isinstance(kernels, ProductKernels)
    return kernels.multiply(rows, weights, bias, residual, gelu=gelu)


# Operators rather than plain functions, so that PyTorch's profiler and transforms see them.
_OPERATORS = torch.library.Library("endofm", "FRAGMENT")  # type: ignore[no-untyped-call]
_OPERATORS.define("attend(Tensor q, Tensor k, Tensor v) -> Tensor")  # type: ignore[no-untyped-call]
_OPERATORS.impl("attend", _attend, "CPU")  # type: ignore[no-untyped-call]
_OPERATORS.define(  # type: ignore[no-untyped-call]
    "split_product(Tensor rows, Tensor weights, Tensor? bias, Tensor? residual, bool gelu) -> Tensor"
)
_OPERATORS.impl("split_product", _split_product, "CPU")  # type: ignore[no-untyped-call]


def matmul_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attend by two batched products with a softmax between them.

    On CPUs this is faster in bfloat16 than the fused kernel, which works in float32 inside.

    Args:
        q: Queries ``(sequences, heads, tokens, head_dim)``, with any strides, already scaled.
        k: Keys, of the same shape.
        v: Values, of the same shape.

    Returns:
        Same shape as ``q``; in memory the heads of a token are adjacent, ready to be joined.
    """
    sequences, heads, tokens, head_dim = q.shape
    out = q.new_empty(sequences, tokens, heads, head_dim).transpose(1, 2)
    step = _SCORES_AT_ONCE // (heads * tokens * tokens)
    if step > 1:
        for start in range(0, sequences, step):
            part = slice(start, start + step)
            out[part] = (q[part] @ k[part].transpose(-2, -1)).softmax(dim=-1) @ v[part]
    else:
        # A single sequence is already a batch of heads: bmm writes it in place, without the copies that a reshape of
        # several sequences needs.
        for target, queries, keys, values in zip(out, q, k, v, strict=True):
            torch.bmm(torch.bmm(queries, keys.transpose(-2, -1)).softmax(dim=-1), values, out=target)
    return out


def short_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attend within many short sequences, several of them per product.

    The fused kernel multiplies every sequence and head separately, which for 8 tokens is mostly the cost of a call, the
    more so with several threads. Here neighbouring sequences form groups of up to :data:`SHORT` tokens, a mask keeps
    them apart, and all groups of a step are one batched product. The few superfluous products cost less.

    Args:
        q: Queries ``(sequences, heads, tokens, head_dim)``, with any strides, not scaled.
        k: Keys, of the same shape.
        v: Values, of the same shape.

    Returns:
        Same shape as ``q``; in memory tokens come first, then sequences, then heads.
    """
    sequences, heads, tokens, head_dim = q.shape
    out = q.new_empty(tokens, sequences, heads, head_dim).permute(1, 2, 0, 3)
    group = max(1, min(SHORT // tokens, sequences))
    rows = group * tokens
    groups = min(sequences // group, max(1, _QUERIES_AT_ONCE // (heads * rows * head_dim)))
    # Row i of a group belongs to sequence i // tokens. A score between two sequences becomes -inf, its softmax weight
    # exactly 0, so every row is the softmax over its own sequence: grouping changes nothing but rounding.
    owner = torch.arange(rows, device=q.device) // tokens
    mask = q.new_zeros(rows, rows).masked_fill_(owner[:, None] != owner, float("-inf"))
    # Memory for one step, used again by every step.
    copies = q.new_empty(3, groups * heads, rows, head_dim)
    products, softmax = q.new_empty(2, groups * heads, rows, rows)
    grouped = sequences - sequences % group
    for start in range(0, grouped, groups * group):
        stop = min(start + groups * group, grouped)
        grid = ((stop - start) // group, heads, group, tokens, head_dim)
        queries, keys, values = parts = copies[:, : grid[0] * heads]
        scores, weights = products[: len(queries)], softmax[: len(queries)]
        for part, source in zip(parts, (q, k, v), strict=True):
            part.view(grid).copy_(_in_groups(source[start:stop], group))
        torch.bmm(queries, keys.transpose(1, 2), out=scores)
        scores.mul_(head_dim**-0.5)
        if group > 1:
            scores.add_(mask)
        torch.softmax(scores, dim=-1, out=weights)
        # The queries have been used, so the result may take their memory.
        torch.bmm(weights, values, out=queries)
        _in_groups(out[start:stop], group).copy_(queries.view(grid))
    # The sequences that do not fill a last group.
    if grouped < sequences:
        out[grouped:] = F.scaled_dot_product_attention(q[grouped:], k[grouped:], v[grouped:])
    return out


def _in_groups(x: Tensor, group: int) -> Tensor:
    """Return ``(sequences, heads, tokens, head_dim)`` as ``(groups, heads, group, tokens, head_dim)``, a view."""
    return torch.unflatten(x, 0, (-1, group)).transpose(1, 2)
