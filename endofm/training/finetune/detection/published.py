"""The original's optimiser and schedule for the detector."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from endofm.config.checks import require_int, require_number
from endofm.errors import ConfigError
from endofm.training.engine.training_task import Plan


@dataclass(frozen=True, kw_only=True)
class PublishedSgdConfig:
    """Stochastic gradient descent as published: biases learn faster and do not decay, everything else does.

    Attributes:
        learning_rate: Peak of the schedule.
        bias_rate: Learning rate of parameters with ``bias`` in their name, as a multiple.
        momentum: Momentum.
        weight_decay: Strength, also on norms, class token, tables and scales.
    """

    name: Literal["published-sgd"] = "published-sgd"
    learning_rate: float = 0.0025
    bias_rate: float = 2.0
    momentum: float = 0.9
    weight_decay: float = 1e-4

    def __post_init__(self) -> None:
        require_number(self, "learning_rate", "bias_rate", low=0, open_low=True)
        require_number(self, "momentum", low=0, high=1)
        require_number(self, "weight_decay", low=0)

    @property
    def clip_norm(self) -> None:
        """No limit."""
        return

    def peak(self, batch_size: int) -> float:
        """Return the highest learning rate."""
        return self.learning_rate


@dataclass(frozen=True, kw_only=True)
class StepScheduleConfig:
    """A linear rise, then drops at fixed steps.

    Attributes:
        warmup_steps: Steps of the rise.
        warmup_factor: Where it begins, as a multiple of the peak.
        milestones: Steps at which the rate drops.
        drop: What it is multiplied by there.
    """

    name: Literal["steps"] = "steps"
    warmup_steps: int = 8000
    warmup_factor: float = 1 / 3
    milestones: tuple[int, ...] = (64_000, 80_000, 88_000)
    drop: float = 0.5

    def __post_init__(self) -> None:
        require_int(self, "warmup_steps", low=0)
        require_number(self, "warmup_factor", "drop", low=0, high=1, open_low=True)
        if list(self.milestones) != sorted(self.milestones):
            raise ConfigError(f"milestones must be ascending, got {self.milestones}")

    def factor(self, plan: Plan, step: int) -> float:
        """Return the learning rate of a step, counted from 0, as a multiple of the peak; the plan plays no part."""
        rise = 1.0
        if step < self.warmup_steps:
            share = step / self.warmup_steps
            rise = self.warmup_factor * (1 - share) + share
        return rise * self.drop ** bisect_right(self.milestones, step)


def make_published_sgd(model: nn.Module, config: PublishedSgdConfig) -> torch.optim.Optimizer:
    """Return the optimiser over what learns in a model; every group knows its ``rate``."""
    weights: list[nn.Parameter] = []
    biases: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            (biases if "bias" in name else weights).append(parameter)
    groups: list[dict[str, Any]] = [
        {"params": weights, "rate": 1.0, "weight_decay": config.weight_decay, "lr": config.learning_rate},
        {"params": biases, "rate": config.bias_rate, "weight_decay": 0.0, "lr": config.learning_rate},
    ]
    return torch.optim.SGD(groups, lr=config.learning_rate, momentum=config.momentum)
