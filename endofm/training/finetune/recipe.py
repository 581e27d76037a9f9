"""Optimiser and schedule of a fine-tuning run."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from endofm.config.checks import require_int, require_number
from endofm.errors import ConfigError
from endofm.models.pretrained import Pretrained
from endofm.training.engine.training_task import Plan
from endofm.training.parameter_groups import split_by_decay
from endofm.training.transfer.base import blocks_of
from endofm.training.transfer.methods import is_inserted


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """How weights follow gradients.

    Attributes:
        name: `adamw` or `sgd`.
        learning_rate: Peak of the schedule for the head.
        reference_batch: The learning rate is for batches of this size and is scaled with the batch; null: as it is.
        momentum: Of `sgd`.
        betas: Of `adamw`.
        weight_decay: Strength; biases, norms, class token and tables are left alone unless `decay_all`.
        decay_all: Decay everything.
        backbone_rate: The encoder's learning rate as a multiple of the head's.
        layer_decay: Every block's rate is that of the block above it times this (arXiv 2106.08254); 1 for equal rates.
        clip_norm: Largest norm of all gradients together; null for no limit.
    """

    name: Literal["adamw", "sgd"] = "adamw"
    learning_rate: float = 5e-4
    reference_batch: int | None = None
    momentum: float = 0.9
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.05
    decay_all: bool = False
    backbone_rate: float = 1.0
    layer_decay: float = 1.0
    clip_norm: float | None = None

    def __post_init__(self) -> None:
        require_number(self, "learning_rate", "backbone_rate", low=0, open_low=True)
        require_number(self, "weight_decay", low=0)
        require_number(self, "momentum", low=0, high=1)
        require_number(self, "layer_decay", low=0, high=1, open_low=True)
        if self.reference_batch is not None and self.reference_batch < 1:
            raise ConfigError(f"reference_batch must be at least 1, or null, got {self.reference_batch}")
        if self.clip_norm is not None and not self.clip_norm > 0:
            raise ConfigError(f"clip_norm must be > 0, or null, got {self.clip_norm}")

    def peak(self, batch_size: int) -> float:
        """Return the head's highest learning rate for a batch size."""
        return self.learning_rate * (batch_size / self.reference_batch if self.reference_batch else 1.0)


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig:
    """How the learning rate changes.

    Attributes:
        name: `cosine` falls by half a cosine, `polynomial` by `(1 - t) ** power`, `constant` stays.
        every: `step`, or `epoch` to keep the rate within an epoch.
        warmup_epochs: Epochs in which the rate rises linearly first.
        end: What it falls to, as a multiple of its peak.
        power: Of `polynomial`.
        late: Steps by which the rate lags behind; the original's mask models get theirs after each step.
    """

    name: Literal["cosine", "polynomial", "constant"] = "cosine"
    every: Literal["step", "epoch"] = "step"
    warmup_epochs: float = 0.0
    end: float = 0.0
    power: float = 0.9
    late: int = 0

    def __post_init__(self) -> None:
        require_number(self, "warmup_epochs", low=0)
        require_number(self, "end", low=0, high=1)
        require_number(self, "power", low=0, open_low=True)
        require_int(self, "late", low=0)

    def factor(self, plan: Plan, step: int) -> float:
        """Return the learning rate of a step as a multiple of its peak.

        Args:
            plan: Length of the run.
            step: Number of the step, from 0.
        """
        step = max(step - self.late, 0)
        warmup = min(self.warmup_epochs * plan.steps_per_epoch, plan.total_steps)
        if step < warmup:
            return (step + 1) / (math.floor(warmup) + 1)
        if self.name == "constant":
            return 1.0
        total = plan.total_steps
        if self.every == "epoch":
            total = plan.epochs * plan.steps_per_epoch
            step = max(plan.epoch(step) * plan.steps_per_epoch, math.ceil(warmup))
        t = min((step - warmup) / max(total - warmup, 1), 1.0)
        shape = (1 + math.cos(math.pi * t)) / 2 if self.name == "cosine" else (1 - t) ** self.power
        return self.end + (1 - self.end) * shape


def make_optimizer(model: Pretrained, config: OptimizerConfig) -> torch.optim.Optimizer:
    """Return the optimiser over what learns in a model; every group knows its ``rate``, a multiple of the head's.

    Args:
        model: A model with an encoder ``backbone``, prepared for its transfer method.
        config: Rates and decay.
    """
    kept = set() if config.decay_all else set(split_by_decay(model, decay_embeddings=False).not_decayed)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter, rate in _rates(model, config):
        decay = 0.0 if name in kept else config.weight_decay
        groups.setdefault((rate, decay), []).append(parameter)
    arguments: list[dict[str, Any]] = [
        {"params": parameters, "rate": rate, "weight_decay": decay, "lr": config.learning_rate * rate}
        for (rate, decay), parameters in groups.items()
    ]
    if config.name == "sgd":
        return torch.optim.SGD(arguments, lr=config.learning_rate, momentum=config.momentum)
    return torch.optim.AdamW(arguments, lr=config.learning_rate, betas=config.betas)


def _rates(model: Pretrained, config: OptimizerConfig) -> Iterator[tuple[str, nn.Parameter, float]]:
    """Yield what learns with its learning rate as a multiple of the head's."""
    depth = len(blocks_of(model))
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        rate = 1.0
        # Inserted parameters start from random or zero values, like the head, and learn at its rate.
        if name.startswith("backbone.") and not is_inserted(name):
            part = name.split(".")
            # Embedding and tables lie below the first block, the final norm above the last.
            level = int(part[2]) + 1 if part[1] == "blocks" else depth + 1 if part[1] == "norm" else 0
            rate = config.backbone_rate * config.layer_decay ** (depth + 1 - level)
        yield name, parameter, rate
