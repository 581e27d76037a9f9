"""Preparing a model for a transfer method, and keeping its frozen part in evaluation mode."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import nn

from endofm.config import EncoderConfig
from endofm.errors import ConfigError
from endofm.layers.st_adapter import STAdapter, insert_st_adapters
from endofm.models.pretrained import Pretrained
from endofm.tasks.classification.config import ClassificationHeadConfig
from endofm.tasks.classification.head import ClassificationHead
from endofm.training.transfer.lora import inject_lora, lora_parameters
from endofm.training.transfer.methods import (
    AttentiveTransfer,
    FullTransfer,
    LoraTransfer,
    STAdapterTransfer,
    Transfer,
    named_transfer,
)


def apply_transfer(model: Pretrained, transfer: Transfer | str) -> Transfer:
    """Put in what a method needs, and let exactly its parameters learn. The outputs do not change.

    The model is changed in place: its configuration tells of adapters (LoRA's are merged or saved on their own, see
    :mod:`endofm.training.transfer.lora` and :mod:`endofm.training.transfer.files`). New parameters are drawn from
    torch's global generator.

    Args:
        model: A model with an encoder ``backbone``; everything else in it is its head and learns.
        transfer: The method, or its word for the default settings.

    Returns:
        The method.

    Raises:
        ConfigError: If the method does not fit the model, or was applied already.
    """
    if isinstance(transfer, str):
        transfer = named_transfer(transfer)
    backbone = backbone_of(model)
    encoder = model.config.encoder
    if next(lora_parameters(model), None) is not None or (
        isinstance(transfer, STAdapterTransfer) and encoder.st_adapter is not None
    ):
        raise ConfigError(f"{type(model).__name__} has adapters already; apply {transfer.name} to a model without any")
    model.requires_grad_(True)
    if isinstance(transfer, FullTransfer):
        return transfer
    backbone.requires_grad_(False)
    if isinstance(transfer, AttentiveTransfer):
        _make_attentive(model, transfer)
    elif isinstance(transfer, STAdapterTransfer):
        config = transfer.config(encoder.embed_dim)
        with torch.device(model.device):
            insert_st_adapters(_blocks(backbone), encoder.embed_dim, config)
        _describe_encoder(model, replace(encoder, st_adapter=config))
        model.to(dtype=model.dtype)
    elif isinstance(transfer, LoraTransfer):
        inject_lora(backbone, transfer)
    for module in backbone.modules():
        norm = isinstance(module, nn.LayerNorm) and isinstance(transfer, STAdapterTransfer) and transfer.train_norms
        if isinstance(module, STAdapter) or norm:
            module.requires_grad_(True)
    return transfer


def set_training(model: Pretrained, mode: bool = True) -> None:
    """Put a model in training mode, but leave its frozen encoder in evaluation mode: no stochastic depth in it.

    Args:
        model: A model that :func:`apply_transfer` has prepared.
        mode: False for evaluation mode everywhere.
    """
    model.train(mode)
    backbone = backbone_of(model)
    if not mode or all(parameter.requires_grad for parameter in backbone.parameters()):
        return
    backbone.eval()
    for name, module in backbone.named_modules():
        if isinstance(module, STAdapter) or "lora_" in name.rsplit(".", 1)[-1]:
            module.train()


def backbone_of(model: Pretrained) -> nn.Module:
    """Return the encoder inside a model.

    Raises:
        ConfigError: If it has none apart from itself.
    """
    backbone = getattr(model, "backbone", None)
    if not isinstance(backbone, nn.Module) or not isinstance(getattr(backbone, "blocks", None), nn.ModuleList):
        raise ConfigError(
            f"{type(model).__name__} has no head to train; put one on it (EndoFMForVideoClassification.from_backbone)"
        )
    return backbone


def learning_parameters(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Yield names and parameters that learn."""
    return ((name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad)


def count_learning(model: nn.Module) -> int:
    """Return the number of parameters that learn."""
    return sum(parameter.numel() for _, parameter in learning_parameters(model))


def _make_attentive(model: Pretrained, transfer: AttentiveTransfer) -> None:
    head, encoder = model.config.head, model.config.encoder
    if not isinstance(head, ClassificationHeadConfig):
        raise ConfigError(f"attentive is a way to pool for classification; {type(model).__name__} has no pooling")
    head = replace(head, pooling="attentive", attentive_heads=transfer.num_heads or encoder.num_heads)
    fresh = ClassificationHead(head, encoder.embed_dim, layer_norm_eps=encoder.layer_norm_eps)
    model.head = fresh.to(device=model.device, dtype=model.dtype)
    model.config = replace(model.config, head=head)


def _describe_encoder(model: Pretrained, encoder: EncoderConfig) -> None:
    model.config = replace(model.config, encoder=encoder)
    backbone_of(model).encoder_config = encoder  # type: ignore[assignment]


def _blocks(backbone: nn.Module) -> nn.ModuleList:
    blocks = backbone.blocks
    assert isinstance(blocks, nn.ModuleList)
    return blocks
