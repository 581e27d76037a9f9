"""LoRA through the library peft: put in, read out, merge."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import nn

from endofm.errors import require_extra
from endofm.training.transfer.methods import LoraTransfer

_PREFIX = "lora_"


def inject_lora(backbone: nn.Module, transfer: LoraTransfer) -> None:
    """Put low-rank additions on linear layers of the blocks; they begin at zero, and only they learn.

    Args:
        backbone: Encoder; changed in place.
        transfer: Rank, scale and layers.

    Raises:
        MissingExtraError: If peft is not installed.
    """
    peft = require_extra("peft", "train", "Transfer by LoRA")
    # A pattern for whole names, so that "attn.qkv" does not also mean "temporal_attn.qkv".
    names = "|".join(target.replace(".", r"\.") for target in transfer.targets)
    config = peft.LoraConfig(
        r=transfer.rank,
        lora_alpha=transfer.alpha,
        lora_dropout=transfer.dropout,
        target_modules=rf"blocks\.\d+\.({names})",
    )
    peft.inject_adapter_in_model(config, backbone)
    for name, parameter in backbone.named_parameters():
        parameter.requires_grad_(_PREFIX in name)


def merge_lora(model: nn.Module) -> int:
    """Add the low-rank additions to the layers that they belong to, and remove them.

    The outputs stay the same up to rounding, and the model has the layers and names that it had before.

    Args:
        model: A model with additions, or without.

    Returns:
        Number of layers that had one.
    """
    merged = 0
    for parent in list(model.modules()):
        for name, layer in list(parent.named_children()):
            if not hasattr(layer, "lora_A") or not hasattr(layer, "get_base_layer"):
                continue
            addition: Any = layer  # of a class of peft
            addition.merge(safe_merge=True)
            base = addition.get_base_layer()
            base.requires_grad_(True)
            setattr(parent, name, base)
            merged += 1
    return merged


def lora_parameters(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Yield names and parameters of low-rank additions."""
    return ((name, parameter) for name, parameter in model.named_parameters() if _PREFIX in name)
