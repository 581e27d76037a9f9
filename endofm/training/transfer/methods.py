"""The transfer methods by name.

==============  ========================================================================================================
name            trainable parameters
==============  ========================================================================================================
``full``        all
``linear``      the head; the encoder is frozen
``attentive``   a classification head with a learned query over the patch tokens; the encoder is frozen
``st-adapter``  the head, and bottlenecks with a convolution over time in the blocks; the rest is frozen
``lora``        the head, and low-rank additions to the attention's linear layers; the rest is frozen
==============  ========================================================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from endofm.errors import ConfigError, quoted
from endofm.training.transfer.base import Transfer, backbone_of
from endofm.training.transfer.head_only import AttentiveTransfer, FullTransfer, LinearTransfer
from endofm.training.transfer.lora import LoraTransfer, lora_parameters
from endofm.training.transfer.st_adapter_transfer import STAdapterTransfer

if TYPE_CHECKING:
    from endofm.models.pretrained import Pretrained

AnyTransfer = FullTransfer | LinearTransfer | AttentiveTransfer | STAdapterTransfer | LoraTransfer
"""The table of methods; in a configuration file ``transfer: lora`` or ``transfer: {name: lora, rank: 4}``."""

_METHODS: dict[str, type[Transfer]] = {method.name: method for method in get_args(AnyTransfer)}
TRANSFERS = tuple(_METHODS)
"""Names of the methods."""


def named_transfer(name: str) -> Transfer:
    """Return a method with its default settings.

    Raises:
        ConfigError: If there is no method of this name.
    """
    if name not in _METHODS:
        raise ConfigError(f"unknown transfer method {quoted(name)}; choose one of {', '.join(TRANSFERS)}")
    return _METHODS[name]()


def require_transfer_for(task: str, transfer: Transfer) -> None:
    """Raise ConfigError unless a method works for a task."""
    if transfer.tasks is not None and task not in transfer.tasks:
        names = [name for name, method in _METHODS.items() if method.tasks is None or task in method.tasks]
        raise ConfigError(f"transfer: for {task} it must be one of {', '.join(names)}, got {quoted(transfer.name)}")


def apply_transfer(model: Pretrained, transfer: Transfer | str) -> Transfer:
    """Prepare a model for a transfer method; see :meth:`Transfer.prepare`.

    Args:
        model: A model with an encoder ``backbone``; everything else in it is its head and learns.
        transfer: The method, or its name for the default settings.

    Returns:
        The method.

    Raises:
        ConfigError: If the method does not fit the model, or one was applied already.
    """
    if isinstance(transfer, str):
        transfer = named_transfer(transfer)
    # Low-rank additions that have not been merged are part of no configuration: whatever came next would lose them.
    if next(lora_parameters(model), None) is not None:
        raise ConfigError(f"{type(model).__name__} has adapters already; apply {transfer.name} to a model without any")
    transfer.prepare(model)
    return transfer


def is_inserted(name: str) -> bool:
    """Return whether a module or parameter of an encoder was inserted by a transfer method, by its dotted name."""
    return any(part in f".{name}" for method in _METHODS.values() for part in method.inserted)


def set_training(model: Pretrained, mode: bool = True) -> None:
    """Put a model in training mode, but leave a frozen encoder in evaluation mode: no stochastic depth in it.

    Args:
        model: A model that :func:`apply_transfer` has prepared.
        mode: False for evaluation mode everywhere.
    """
    model.train(mode)
    backbone = backbone_of(model)
    if not mode or all(parameter.requires_grad for parameter in backbone.parameters()):
        return
    backbone.eval()
    # Dropout inside an addition has no parameters, so that the name decides and not what is trainable.
    for name, module in backbone.named_modules():
        if is_inserted(name):
            module.train()
