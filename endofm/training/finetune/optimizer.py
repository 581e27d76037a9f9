"""Optimizers of fine-tuning, with their parameter groups."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from endofm.models.pretrained import Pretrained
from endofm.training.finetune.layer_decay import layer_rates
from endofm.training.finetune.optimizer_config import OptimizerConfig, PublishedSgdConfig
from endofm.training.parameter_groups import split_by_decay
from endofm.training.transfer.base import trainable_parameters


def make_optimizer(model: Pretrained, config: OptimizerConfig | PublishedSgdConfig) -> torch.optim.Optimizer:
    """Return the optimizer of the trainable parameters; every group stores its ``rate``, a multiple of the head's.

    Args:
        model: A model with an encoder ``backbone``, prepared for its transfer method.
        config: Rates and weight decay.
    """
    if isinstance(config, PublishedSgdConfig):
        return _published_sgd(model, config)
    exempt = set() if config.decay_all else set(split_by_decay(model, decay_embeddings=False).not_decayed)
    # One group per combination of rate and decay: a handful, however many parameters there are.
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    rates = layer_rates(model, backbone_rate=config.backbone_rate, layer_decay=config.layer_decay)
    for name, parameter, rate in rates:
        decay = 0.0 if name in exempt else config.weight_decay
        groups.setdefault((rate, decay), []).append(parameter)
    arguments: list[dict[str, Any]] = [
        {"params": parameters, "rate": rate, "weight_decay": decay, "lr": config.learning_rate * rate}
        for (rate, decay), parameters in groups.items()
    ]
    if config.name == "sgd":
        return torch.optim.SGD(arguments, lr=config.learning_rate, momentum=config.momentum)
    return torch.optim.AdamW(arguments, lr=config.learning_rate, betas=config.betas)


def _published_sgd(model: Pretrained, config: PublishedSgdConfig) -> torch.optim.Optimizer:
    # The published code tells biases by their name alone, so that a parameter such as a norm's bias is one as well.
    weights: list[nn.Parameter] = []
    biases: list[nn.Parameter] = []
    for name, parameter in trainable_parameters(model):
        (biases if "bias" in name else weights).append(parameter)
    groups: list[dict[str, Any]] = [
        {"params": weights, "rate": 1.0, "weight_decay": config.weight_decay, "lr": config.learning_rate},
        {"params": biases, "rate": config.bias_rate, "weight_decay": 0.0, "lr": config.learning_rate},
    ]
    return torch.optim.SGD(groups, lr=config.learning_rate, momentum=config.momentum)
