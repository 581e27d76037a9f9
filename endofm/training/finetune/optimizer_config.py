"""Optimizer settings of fine-tuning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from endofm.config.checks import require_number
from endofm.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """Optimizer settings.

    Attributes:
        name: `adamw` or `sgd`.
        learning_rate: Peak of the schedule for the head.
        reference_batch: Batch size that the learning rate is for; the rate is scaled in proportion to the actual one.
            Null to use it unscaled.
        momentum: Momentum of `sgd`.
        betas: Betas of `adamw`.
        weight_decay: Weight decay; biases, norms, class token and embeddings are exempt unless `decay_all`.
        decay_all: Decay all parameters.
        backbone_rate: The encoder's learning rate as a multiple of the head's.
        layer_decay: Every block's learning rate is that of the block above it times this (arXiv 2106.08254); 1 for
            equal rates.
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
        # Linear scaling (arXiv 1706.02677): k times the batch gives gradients averaged over k times the clips.
        return self.learning_rate * (batch_size / self.reference_batch if self.reference_batch else 1.0)


@dataclass(frozen=True, kw_only=True)
class PublishedSgdConfig:
    """Stochastic gradient descent of the published detector: biases learn faster and do not decay, all else does.

    Attributes:
        learning_rate: Peak of the schedule.
        bias_rate: Learning rate of parameters with ``bias`` in their name, as a multiple.
        momentum: Momentum.
        weight_decay: Weight decay, also of norms, class token, embeddings and scales.
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
        """No limit on gradients."""
        return

    def peak(self, batch_size: int) -> float:
        """Return the highest learning rate, whatever the batch size."""
        return self.learning_rate
