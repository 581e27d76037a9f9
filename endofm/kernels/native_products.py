"""Linear layers on a CPU by C kernels on PyTorch's threads.

``_products.c`` multiplies float32 numbers in three parts of bfloat16, on x86-64 processors with AMX. ``_linear.c``
multiplies float32 numbers and 8-bit integers by panels of weights, on those with AVX2. :func:`why_no_split` and
:func:`why_no_panels` return why one of them is unavailable.
"""

from __future__ import annotations

import ctypes
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from endofm.kernels.native import OPERATORS, NativeLibrary, load_library, most_lanes

BLOCK = 32
"""The numbers of inputs and outputs of a split product are multiples of this; so many rows are computed at once."""

PANEL = 16
"""The number of outputs of a panel product is a multiple of this."""

_TASKS_PER_THREAD = 4
"""Tasks per thread, at least, so that no thread has much more to do than another."""


class _ProductJob(ctypes.Structure):
    """``product_job`` of ``_products.c``."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("input", "weights", "bias", "residual", "out")),
        *((name, ctypes.c_int64) for name in ("rows", "inputs", "outputs", "groups", "gelu", "out_of_memory")),
    )


class _PanelJob(_ProductJob):
    """``linear_job`` of ``_linear.c``: it begins as the other does."""

    _fields_ = (("scale", ctypes.c_void_p), ("step", ctypes.c_float), ("zero", ctypes.c_float))


class KernelKind(NamedTuple):
    """Properties of a compiled file of products.

    Attributes:
        level: Name of the function that returns whether this processor can run the kernels.
        rows: Rows that are computed at once.
        outputs: Outputs that are computed at once; the first axis of packed weights counts these groups.
    """

    level: str
    rows: int
    outputs: int


SPLIT = KernelKind("products_level", BLOCK, BLOCK)
"""``_products.c``."""

PANELS = KernelKind("linear_level", 6, PANEL)
"""``_linear.c``."""


class ProductKernels:
    """Product kernels of a compiled file.

    Args:
        path: The compiled library.
        kind: From which source.

    Raises:
        OSError: If the library, or PyTorch's, cannot be loaded.
        AttributeError: If one of them lacks a function.

    Attributes:
        usable: Whether this processor has what the kernels need and the system lets this process use it.
    """

    def __init__(self, path: Path, kind: KernelKind) -> None:
        self._library, self._kind = NativeLibrary(path), kind
        self.usable = bool(getattr(self._library.functions, kind.level)())

    def multiply(
        self,
        name: str,
        job: _ProductJob,
        rows: Tensor,
        weights: Tensor,
        bias: Tensor | None,
        residual: Tensor | None,
        *,
        gelu: bool,
    ) -> Tensor:
        """Multiply with a kernel.

        Args:
            name: The kernel's name.
            job: Its arguments, complete but for those that follow here.
            rows: As for :func:`split_product`.
            weights: As there.
            bias: As there.
            residual: As there.
            gelu: As there.

        Returns:
            As there.
        """
        rows, residual = rows.contiguous(), None if residual is None else residual.contiguous()
        count, job.inputs = rows.shape
        columns = len(weights)
        out = rows.new_empty(count, columns * self._kind.outputs)
        blocks = -(-count // self._kind.rows)
        if blocks == 0:
            return out
        # A task is one block of rows and one group of outputs. Few rows need several groups to occupy all threads.
        job.groups = min(columns, -(-_TASKS_PER_THREAD * torch.get_num_threads() // blocks))
        job.input, job.weights, job.out = rows.data_ptr(), weights.data_ptr(), out.data_ptr()
        job.bias, job.residual = (None if x is None else x.data_ptr() for x in (bias, residual))
        job.rows, job.outputs, job.gelu = count, out.shape[1], gelu
        self._library.run(name, job.groups * blocks, job)
        if job.out_of_memory:
            raise MemoryError(f"no memory left to multiply {count} rows")
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


def panel_product(
    rows: Tensor,
    weights: Tensor,
    bias: Tensor | None,
    residual: Tensor | None,
    *,
    gelu: bool,
    scale: Tensor | None = None,
    step: float = 0.0,
    zero: int = 0,
) -> Tensor:
    """Return ``rows @ weight.T + bias``, then an exact (erf) GELU, then plus a residual, each if requested.

    Args:
        rows: ``(rows, inputs)``, float32 on the CPU.
        weights: Weight ``(outputs, inputs)`` in the form of :func:`pack_panels`, float32 or integers.
        bias: ``(outputs,)``, float32, or None.
        residual: ``(rows, outputs)``, float32, or None.
        gelu: Apply the GELU.
        scale: ``(outputs,)``, float32: the weights are integers, times this. Inputs are then rounded to
            ``step * (q - zero)`` with integers ``q`` from 0 to 255; sums of integers are exact.
        step: Distance of two rounded inputs.
        zero: Integer that stands for 0.

    Returns:
        ``(rows, outputs)``, float32. The order of summation, and so the rounding, differs from PyTorch's; it does not
        depend on the number of threads.
    """
    out: Tensor = torch.ops.endofm.panel_product(rows, weights, bias, residual, scale, gelu, step, zero)
    return out


def pack_panels(weight: Tensor) -> Tensor:
    """Bring a weight ``(outputs, inputs)`` into the order of the kernels; outputs are a multiple of :data:`PANEL`.

    Returns:
        Of float32 ``(outputs / 16, inputs, 16)``, float32. Of int8 ``(outputs / 16, inputs / 2, 16, 2)``, int16, with
        neighbouring inputs in pairs; a missing last one is zero.
    """
    outputs, inputs = weight.shape
    if weight.dtype is not torch.int8:
        return weight.float().view(outputs // PANEL, PANEL, inputs).transpose(1, 2).contiguous()
    even = torch.nn.functional.pad(weight.to(torch.int16), (0, inputs % 2))
    return even.view(outputs // PANEL, PANEL, -1, 2).transpose(1, 2).contiguous()


def split_available() -> bool:
    """Return whether :func:`split_product` works on this machine."""
    return isinstance(_split_kernels(), ProductKernels)


def panels_available() -> bool:
    """Return whether :func:`panel_product` works on this machine."""
    return isinstance(_panel_kernels(), ProductKernels)


def panels_are_widest() -> bool:
    """Return whether :func:`panel_product` works and PyTorch's products have no wider registers than it."""
    return panels_available() and most_lanes() == 8


def why_no_split() -> str | None:
    """Return why the product kernel is unavailable; None if it is available."""
    kernels = _split_kernels()
    return kernels if isinstance(kernels, str) else None


def why_no_panels() -> str | None:
    """Return why the kernels of panels are unavailable; None if they are available."""
    kernels = _panel_kernels()
    return kernels if isinstance(kernels, str) else None


@lru_cache
def _split_kernels() -> ProductKernels | str:
    """Return the installed product kernel, or the reason why there is none."""
    kernels = load_library("endofm.kernels._products", lambda path: ProductKernels(path, SPLIT))
    if isinstance(kernels, ProductKernels) and not kernels.usable:
        return "this processor has no AMX, the system withholds it, or the compiler did not support it"
    return kernels


@lru_cache
def _panel_kernels() -> ProductKernels | str:
    """Return the installed kernels of panels, or the reason why there are none."""
    kernels = load_library("endofm.kernels._linear", lambda path: ProductKernels(path, PANELS))
    if isinstance(kernels, ProductKernels) and not (kernels.usable and most_lanes() >= 8):
        return "this processor has no AVX2, or the compiler did not support it"
    return kernels


def _split_product(rows: Tensor, weights: Tensor, bias: Tensor | None, residual: Tensor | None, gelu: bool) -> Tensor:
    kernels = _split_kernels()
    assert isinstance(kernels, ProductKernels)
    return kernels.multiply("multiply", _ProductJob(), rows, weights, bias, residual, gelu=gelu)


def _panel_product(
    rows: Tensor,
    weights: Tensor,
    bias: Tensor | None,
    residual: Tensor | None,
    scale: Tensor | None,
    gelu: bool,
    step: float,
    zero: int,
) -> Tensor:
    kernels = _panel_kernels()
    assert isinstance(kernels, ProductKernels)
    job = _PanelJob(scale=None if scale is None else scale.data_ptr(), step=step, zero=zero)
    name = "linear_float32" if scale is None else "linear_int8"
    return kernels.multiply(name, job, rows, weights, bias, residual, gelu=gelu)


OPERATORS.define(  # type: ignore[no-untyped-call]
    "split_product(Tensor rows, Tensor weights, Tensor? bias, Tensor? residual, bool gelu) -> Tensor"
)
OPERATORS.impl("split_product", _split_product, "CPU")  # type: ignore[no-untyped-call]
OPERATORS.define(  # type: ignore[no-untyped-call]
    "panel_product(Tensor rows, Tensor weights, Tensor? bias, Tensor? residual, Tensor? scale, bool gelu, float step, "
    "int zero) -> Tensor"
)
OPERATORS.impl("panel_product", _panel_product, "CPU")  # type: ignore[no-untyped-call]
