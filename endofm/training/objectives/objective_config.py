"""Settings that pre-training objectives share."""

from __future__ import annotations

from dataclasses import dataclass

from endofm.config.checks import require_bool, require_int, require_number
from endofm.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class ObjectiveConfig:
    """Optimizer, schedules and stochastic depth.

    Every objective has the recipe of Endo-FM (that of DINO) and its defaults, so that a comparison of objectives
    compares nothing else.

    Attributes:
        learning_rate: Peak learning rate for 256 clips per step; the actual rate is proportional to the clips per step.
        final_learning_rate: Learning rate that the cosine approaches, whatever the clips per step.
        warmup_epochs: Epochs over which the learning rate rises from 0.
        weight_decay: Initial weight decay.
        final_weight_decay: Weight decay that the cosine approaches.
        clip_gradient: Largest norm of each tensor's gradient.
        drop_path_rate: Stochastic depth of the last block in training, see
            :class:`~endofm.config.EncoderConfig`.
        decay_embeddings: Apply weight decay to the class token and the position and time embeddings, as published.
    """

    learning_rate: float = 5e-4
    final_learning_rate: float = 1e-6
    warmup_epochs: int = 10
    weight_decay: float = 0.04
    final_weight_decay: float = 0.4
    clip_gradient: float = 3.0
    drop_path_rate: float = 0.1
    decay_embeddings: bool = False

    def __post_init__(self) -> None:
        require_number(self, "learning_rate", "clip_gradient", low=0, open_low=True)
        require_number(self, "final_learning_rate", "weight_decay", "final_weight_decay", low=0)
        require_int(self, "warmup_epochs", low=0)
        require_number(self, "drop_path_rate", low=0, high=1)
        if self.drop_path_rate == 1:
            raise ConfigError(f"{type(self).__name__}.drop_path_rate must be < 1: nothing would be left")
        require_bool(self, "decay_embeddings")


@dataclass(frozen=True, kw_only=True)
class SelfSupervisionConfig(ObjectiveConfig):
    """Settings of objectives that learn from the clips alone.

    Attributes:
        anchor_weight: Weight of the anchor, which keeps class tokens close to those of the initial encoder: one minus
            the cosine, on global views or, of VCL, its two clips. 0 for none; with a warm start about 1 keeps what it
            knows.
    """

    anchor_weight: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_number(self, "anchor_weight", low=0)
