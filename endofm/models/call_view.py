"""A model as one call sees it: the weights of the shared model, with a precision and a device of the call's own.

Threads may share a model, and each call may ask for another precision or device. A call therefore works on a view, a
module of the same class that shares parameters, layers and hooks with the model and differs in these two settings.
What other calls do to their views, or to the settings of the model, does not reach it.
"""

from __future__ import annotations

import copy
import threading
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import nn

from endofm.kernels.precision import Precision

if TYPE_CHECKING:
    from endofm.models.pretrained import Pretrained

Model = TypeVar("Model", bound="Pretrained")

# Copies of models on other devices, each with what identifies the weights that were copied. Beside the models and not
# in them, so that they are never part of a pickle or another copy.
_copies: WeakKeyDictionary[nn.Module, dict[torch.device, tuple[object, Any]]] = WeakKeyDictionary()
_copying = threading.Lock()


def view_for_call(model: Model, device: torch.device, precision: Precision) -> Model:
    """Return a view of a model for one call.

    Args:
        model: The shared model, which is not changed.
        device: Device of the call. Where it is another than the model's, the view is of a copy there, which is kept for
            later calls until the weights change.
        precision: Precision of the call.
    """
    view: Model = _shallow(model if _same(model.device, device) else _copy_on(model, device))
    transformer: Any = view
    if "backbone" in view._modules:
        view._modules = dict(view._modules)
        transformer = view._modules["backbone"] = _shallow(view.backbone)
    transformer.backends = transformer.backends.at(precision)
    if model.precision != precision:
        # What `compile` has stored in a module calls the module itself, not its view.
        view._compiled_call_impl = None
    return view


def precision_in_use(model: Pretrained) -> str:
    """Return the precision that forward passes of the calling thread have, whatever was asked for.

    Returns:
        One of :data:`~endofm.kernels.precision.PRECISIONS`; or what overrules it: the type of autocast, of parameters
        that are not float32, or of another library's.
    """
    device, dtype = model.device, str(model.dtype).removeprefix("torch.")
    if torch.is_autocast_enabled(device.type):
        return f"autocast {str(torch.get_autocast_dtype(device.type)).removeprefix('torch.')}"
    kinds = {type(parameter) for parameter in model.parameters()} - {nn.Parameter}
    if kinds:
        return f"{dtype}, as {', '.join(sorted(kind.__name__ for kind in kinds))} multiplies"
    if model.training:
        # The modules themselves are called, with dropout and stochastic depth where there are any.
        return f"{'exact' if dtype == 'float32' else dtype}, in training mode"
    return dtype if model.precision == "exact" and dtype != "float32" else model.precision


def _shallow(module: Any) -> Any:
    """Return a module with the same content, whose attributes can be replaced without changing the other's."""
    view = object.__new__(type(module))
    view.__dict__.update(module.__dict__)
    return view


def _same(first: torch.device, second: torch.device) -> bool:
    # Without an index a device is the current one of its type, which `usable_device` leaves open.
    return first.type == second.type and (None in (first.index, second.index) or first.index == second.index)


def _copy_on(model: Model, device: torch.device) -> Model:
    """Return a copy of a model on another device, made once for its current weights."""
    tensors = [*model.parameters(), *model.buffers()]
    # Of every tensor, whatever changes with its values: in inference mode there is no counter of changes.
    state = [(id(t), t.data_ptr(), -1 if t.is_inference() else t._version) for t in tensors]
    key = (state, model.training)
    with _copying:
        known = _copies.setdefault(model, {})
        if device not in known or known[device][0] != key:
            # Placed into the copy's memo, each tensor is copied to its device directly and never twice.
            memo: dict[int, Any] = {id(t): _moved(t, device) for t in tensors}
            known[device] = key, copy.deepcopy(model, memo)
        found: Model = known[device][1]
    return found


def _moved(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    moved = tensor.detach().to(device)
    return nn.Parameter(moved, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else moved
