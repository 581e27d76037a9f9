"""The one switch for numerical precision in inference, and the backend that follows from it and from the device.

``"exact"`` is float32 (or the type of the parameters), equal to the modules up to rounding. ``"bfloat16"`` multiplies
in bfloat16 and keeps tokens, norms and sums in float32. ``"int8"`` multiplies in 8-bit integers on processors that
can; how well a network bears that depends on its weights, so compare first. A precision in which this device multiplies
no faster than in float32 is never used: :func:`effective_precision` is ``"exact"`` there.
"""

from __future__ import annotations

import logging
import time
import warnings
from functools import lru_cache
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from endofm.errors import EndoFMWarning, InputError, cause, quoted
from endofm.kernels.backend import EAGER, Backend, FoldedBackend, OneDnnBackend, can_prepack
from endofm.kernels.float32 import AmxFloat32Backend, PanelFloat32Backend
from endofm.kernels.int8 import can_multiply_int8, int8_backend
from endofm.kernels.native_products import panels_are_widest, split_available
from endofm.pool import cpu_threads

Precision = Literal["exact", "bfloat16", "int8"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)

FASTER = 1.1
"""Times as fast as exact products that others have to be: a measurement is disturbed by a few percent."""

_ROWS, _WIDTH, _ROUNDS = 128, 768, 3

_log = logging.getLogger(__name__)


def usable_device(device: str | torch.device | None) -> torch.device:
    """Return the device.

    Raises:
        InputError: If it is unavailable.
    """
    try:
        target = torch.device(device or "cpu")
        # torch.device() accepts any index; only an allocation shows whether the device exists.
        torch.empty(0, device=target)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InputError(
            f"device {str(device)!r} is unavailable ({cause(error)}); `endofm doctor` lists the available ones"
        ) from error
    return target


def resolve_precision(precision: Precision | Literal["auto"], device: torch.device) -> Precision:
    """Return the precision to use on a device.

    ``"auto"`` is bfloat16 on a CUDA GPU that multiplies in it (from the Ampere generation on) and exact everywhere
    else; the choice is logged. A precision that would be no faster than exact on the device is replaced by exact.

    Raises:
        InputError: If there is no such precision, or the device does not support it.

    Warns:
        EndoFMWarning: If the precision is replaced.
    """
    if precision == "auto":
        selected: Precision = "bfloat16" if device.type == "cuda" and _is_faster("bfloat16", device) else "exact"
        _log.info("precision 'auto' on %s: %s", device, selected)
        return selected
    selected = effective_precision(precision, device)
    if selected != precision:
        warnings.warn(
            f"this {'processor' if device.type == 'cpu' else 'GPU'} does not multiply faster in {precision} than in "
            f"float32, so results are computed at precision 'exact' instead",
            EndoFMWarning,
            stacklevel=2,
        )
    return selected


def effective_precision(precision: Precision, device: torch.device) -> Precision:
    """Return the precision in which a device computes if one is requested: that one, or exact if that is as fast.

    Raises:
        InputError: As :func:`resolve_precision`.
    """
    if precision not in PRECISIONS:
        raise InputError(f"precision must be one of auto, {', '.join(PRECISIONS)}, got {quoted(precision)}")
    if precision == "int8" and not (device.type == "cpu" and can_multiply_int8()):
        raise InputError(
            f"precision 'int8' needs a processor with 8-bit products (VNNI or AMX) and a build of PyTorch with oneDNN, "
            f"or AVX2 and the compiled kernels; on {device} use 'bfloat16' or 'exact'"
        )
    return precision if precision == "exact" or _is_faster(precision, device) else "exact"


def _is_faster(precision: Precision, device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return device.type != "cpu" or product_speed(precision) >= FASTER


@lru_cache
def product_speed(precision: Precision) -> float:
    """Return how many times as fast as exactly this CPU multiplies at a precision, which it supports.

    Flags of a processor do not tell: without the right instructions, a product in bfloat16 takes sixteen times as long.
    Measured once per process on products of about a millisecond, in this thread's own time, which other processes do
    not disturb.
    """
    # No random numbers: the caller's are not to change.
    x = torch.linspace(-1, 1, _ROWS * _WIDTH).view(_ROWS, _WIDTH)
    weight = torch.linspace(-1, 1, _WIDTH * _WIDTH).view(_WIDTH, _WIDTH)

    def seconds(precision: Precision) -> float:
        backend = _cpu_backend(precision)
        weights = backend.prepare(weight, None)
        rows = x.bfloat16() if precision == "bfloat16" else x
        times = []
        for _ in range(_ROUNDS):
            began = time.thread_time()
            backend.multiply(rows, weights, gelu=False)
            times.append(time.thread_time() - began)
        return min(times)

    # With several threads, this one's time would include waiting for the others.
    with cpu_threads(1), torch.inference_mode():
        # The clock may stand still for products as short as its step.
        return max(seconds("exact"), 1e-6) / max(seconds(precision), 1e-6)


def _cpu_backend(precision: Precision) -> FoldedBackend:
    if precision == "int8":
        return int8_backend()
    return _floating_point_backend("cpu", torch.bfloat16 if precision == "bfloat16" else torch.float32)


class BackendSelector:
    """Selects the backend of one network, and keeps the backends with the weights they have prepared.

    A copy of a network prepares its own weights.
    """

    def __init__(self, precision: Precision = "exact") -> None:
        self._precision: Precision = precision
        self._backends: dict[tuple[str, torch.dtype | None], Backend] = {}

    @property
    def precision(self) -> Precision:
        """One of :data:`PRECISIONS`."""
        return self._precision

    @precision.setter
    def precision(self, precision: Precision) -> None:
        if precision not in PRECISIONS:
            raise InputError(f"precision must be one of {', '.join(PRECISIONS)}, got {quoted(precision)}")
        if precision != self._precision:
            # Weights prepared for the previous precision would only occupy memory.
            self._backends.clear()
        self._precision = precision

    def at(self, precision: Precision) -> BackendSelector:
        """Return a selector of another precision that shares the prepared weights of this one."""
        selector = BackendSelector(precision)
        selector._backends = self._backends
        return selector

    def select(self, network: nn.Module, x: Tensor) -> Backend:
        """Return the backend for one forward pass.

        Args:
            network: Owner of the parameters.
            x: Input of the first block.

        Returns:
            :data:`~endofm.kernels.backend.EAGER` in training, where a gradient may be needed, and while PyTorch
            compiles or exports the network.
        """
        # Training has dropout and stochastic depth; a compiler must see the modules to trace them.
        if network.training or torch.compiler.is_compiling():
            return EAGER
        parameters = list(network.parameters())
        # Sharded over processes or quantised by another library: only the module knows how to multiply them.
        if any(type(p) is not nn.Parameter for p in parameters):
            return EAGER
        # Prepared weights are detached copies, so a gradient could not reach the parameters through them.
        if torch.is_grad_enabled() and (x.requires_grad or any(p.requires_grad for p in parameters)):
            return EAGER
        # Under autocast the caller has chosen the types: weights are folded and not cast.
        if torch.is_autocast_enabled(x.device.type):
            return self._backend("autocast", None)
        # The network may have moved to another device since the precision was set.
        precision = effective_precision(self._precision, x.device)
        dtypes = {"exact": x.dtype, "bfloat16": torch.bfloat16, "int8": torch.int8}
        return self._backend(x.device.type, dtypes[precision])

    def _backend(self, device: str, dtype: torch.dtype | None) -> Backend:
        key = device, dtype
        found = self._backends.get(key)
        if found is None:
            made = int8_backend() if dtype is torch.int8 else _floating_point_backend(device, dtype)
            # Of two threads that come first at once, both take the backend of one.
            found = self._backends.setdefault(key, made)
        return found

    def __deepcopy__(self, memo: dict[int, object]) -> BackendSelector:
        return BackendSelector(self._precision)

    def __reduce__(self) -> tuple[type[BackendSelector], tuple[Precision]]:
        return BackendSelector, (self._precision,)


def _floating_point_backend(device: str, dtype: torch.dtype | None) -> FoldedBackend:
    """Return the fastest backend for products in a floating-point type."""
    if device != "cpu" or dtype is None or not can_prepack(dtype):
        return FoldedBackend(dtype)
    # The matrix unit multiplies bfloat16 16 times as fast as the vector units multiply float32, so six bfloat16
    # products are faster than one float32 product.
    if dtype is torch.float32 and split_available():
        return AmxFloat32Backend()
    return PanelFloat32Backend() if dtype is torch.float32 and panels_are_widest() else OneDnnBackend(dtype)
