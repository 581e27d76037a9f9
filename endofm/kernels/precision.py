"""One switch for how exactly inference computes, and which arithmetic follows from it.

``"exact"`` is float32 (or whatever type the parameters have), equal to the modules as they are up to rounding.
``"bfloat16"`` multiplies in bfloat16 and keeps tokens, norms and sums in float32. ``"int8"`` multiplies in 8-bit
integers on processors that can; how well a network bears that depends on its weights, so compare first.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from endofm.errors import InputError
from endofm.kernels.amx_float32 import Split, can_split
from endofm.kernels.backend import PLAIN, Arithmetic, Inference
from endofm.kernels.int8 import Int8, can_multiply_int8
from endofm.kernels.onednn import Packed, can_pack

Precision = Literal["exact", "bfloat16", "int8"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)

_log = logging.getLogger(__name__)


def resolve_precision(precision: Precision | Literal["auto"], device: torch.device) -> Precision:
    """Return the precision to use on a device.

    ``"auto"`` is bfloat16 on a CUDA GPU that multiplies in it (from the Ampere generation on), exact everywhere else;
    what it picked is logged.

    Raises:
        InputError: If there is no such precision, or the device does not have it.
    """
    if precision == "auto":
        native = device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
        picked: Precision = "bfloat16" if native else "exact"
        _log.info("precision 'auto' on %s: %s", device, picked)
        return picked
    if precision not in PRECISIONS:
        raise InputError(f"precision must be one of auto, {', '.join(PRECISIONS)}, got {precision!r}")
    if precision == "int8" and not (device.type == "cpu" and can_multiply_int8()):
        raise InputError(
            f"precision 'int8' needs a processor with 8-bit products (VNNI or AMX) and a build of PyTorch with oneDNN; "
            f"on {device} use 'bfloat16' or 'exact'"
        )
    return precision


class ArithmeticChoice:
    """The arithmetic of one model, with the weights that were prepared for it.

    A copy of a model prepares its own.

    Attributes:
        precision: One of :data:`PRECISIONS`.
    """

    def __init__(self, precision: Precision = "exact") -> None:
        self._precision: Precision = precision
        self._made: dict[tuple[str, torch.dtype | None], Arithmetic] = {}

    @property
    def precision(self) -> Precision:
        """One of :data:`PRECISIONS`."""
        return self._precision

    @precision.setter
    def precision(self, precision: Precision) -> None:
        if precision not in PRECISIONS:
            raise InputError(f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}")
        if precision != self._precision:
            self._made.clear()  # The weights of the other one would only take memory.
        self._precision = precision

    @staticmethod
    def within(model: nn.Module) -> Iterator[ArithmeticChoice]:
        """Yield those of a model and its parts; a part that has one keeps it as ``_arithmetic``."""
        for module in model.modules():
            choice = getattr(module, "_arithmetic", None)
            if isinstance(choice, ArithmeticChoice):
                yield choice

    def choose(self, model: nn.Module, x: Tensor) -> Arithmetic:
        """Return how to multiply now.

        Args:
            model: Owns the parameters.
            x: What enters the first block.

        Returns:
            :data:`~endofm.kernels.backend.PLAIN` in training, where a gradient may be asked for, and while PyTorch
            compiles or exports the model.
        """
        if model.training or torch.compiler.is_compiling():
            return PLAIN
        parameters = list(model.parameters())
        if any(type(p) is not nn.Parameter for p in parameters):
            return PLAIN  # Sharded over processes or quantised by another library: theirs to multiply.
        if torch.is_grad_enabled() and (x.requires_grad or any(p.requires_grad for p in parameters)):
            return PLAIN
        if torch.is_autocast_enabled(x.device.type):
            return self._get("cast", None)  # The caller has chosen types; weights stay as they are.
        if self._precision == "exact":
            return self._get(x.device.type, x.dtype)
        if self._precision == "int8":
            resolve_precision("int8", x.device)
            return self._get("cpu", torch.int8)
        return self._get(x.device.type, torch.bfloat16)

    def _get(self, device: str, dtype: torch.dtype | None) -> Arithmetic:
        key = device, dtype
        if key not in self._made and dtype is torch.int8:
            self._made[key] = Int8()
        elif key not in self._made:
            self._made[key] = _floating(device, dtype)
        return self._made[key]

    def __deepcopy__(self, memo: dict[int, object]) -> ArithmeticChoice:
        return ArithmeticChoice(self._precision)

    def __reduce__(self) -> tuple[type[ArithmeticChoice], tuple[Precision]]:
        return ArithmeticChoice, (self._precision,)


def _floating(device: str, dtype: torch.dtype | None) -> Arithmetic:
    """Return the fastest way of multiplying in a floating-point type."""
    if device != "cpu" or dtype is None or not can_pack(dtype):
        return Inference(dtype)
    return Split() if dtype is torch.float32 and can_split() else Packed(dtype)
