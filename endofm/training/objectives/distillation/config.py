"""Settings of Endo-FM's objective, and its two presets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

from endofm.config.checks import require_bool, require_choice, require_int, require_number
from endofm.errors import ConfigError
from endofm.training.views.config import ViewConfig

Centering = Literal["running_mean", "sinkhorn"]


@dataclass(frozen=True, kw_only=True)
class HeadConfig:
    """Widths of the projection head. The defaults are the published ones; small models want smaller heads.

    Attributes:
        out_dim: Number of prototypes, the width of the output.
        hidden_dim: Hidden width of the MLP.
        bottleneck_dim: Width between MLP and prototypes.
        num_layers: Linear layers of the MLP.
    """

    out_dim: int = 65536
    hidden_dim: int = 2048
    bottleneck_dim: int = 256
    num_layers: int = 3

    def __post_init__(self) -> None:
        require_int(self, "out_dim", low=2)
        require_int(self, "hidden_dim", "bottleneck_dim", "num_layers")


@dataclass(frozen=True, kw_only=True)
class DistillationConfig:
    """Endo-FM's self-distillation (arXiv 2306.16741; DINO, arXiv 2104.14294, on video).

    The defaults are the numbers of the original with the sound choice at each quirk; :class:`EndoFMFixedConfig` and
    :class:`EndoFMConfig` give the two presets their names.

    Attributes:
        views: Views of a clip.
        head: Projection head.
        student_temp: Temperature of the student's output.
        teacher_temp: Temperature of the teacher's output.
        warmup_teacher_temp: Temperature of the teacher's output in the first epoch.
        warmup_teacher_temp_epochs: Epochs over which it changes to ``teacher_temp``.
        teacher_momentum: How much of the teacher is kept per step at the beginning; rises to 1 by a cosine.
        centering: What keeps the teacher from one and the same output for every clip. ``"running_mean"`` subtracts the
            centre (DINO, as published). ``"sinkhorn"`` balances the use of the prototypes within the batch (SwAV, arXiv
            2006.09882; DINOv2, arXiv 2304.07193): short runs of small networks from random weights did not get going
            without it: the outputs of a fresh network hardly differ.
        center_momentum: How much of the centre is kept per step; of no effect with ``"sinkhorn"``.
        learning_rate: Highest learning rate for 256 clips per step; what is used is in proportion to the clips.
        final_learning_rate: Learning rate that the cosine approaches, whatever the clips per step.
        warmup_epochs: Epochs over which the learning rate rises from 0.
        weight_decay: At the beginning.
        final_weight_decay: Weight decay that the cosine approaches.
        clip_gradient: Largest norm of each tensor's gradient.
        freeze_last_layer_epochs: Epochs at the beginning in which the prototypes are not trained.
        drop_path_rate: Stochastic depth of the last block in training, see
            :class:`~endofm.config.EncoderConfig`.
        teacher_drop_path: Stochastic depth acts in the teacher, too, as published.
        decay_embeddings: Weight decay acts on the class token and the position and time tables, as published.
    """

    views: ViewConfig = field(default_factory=ViewConfig)
    head: HeadConfig = field(default_factory=HeadConfig)
    student_temp: float = 0.1
    teacher_temp: float = 0.04
    warmup_teacher_temp: float = 0.04
    warmup_teacher_temp_epochs: int = 0
    teacher_momentum: float = 0.996
    centering: Centering = "running_mean"
    center_momentum: float = 0.9
    learning_rate: float = 5e-4
    final_learning_rate: float = 1e-6
    warmup_epochs: int = 10
    weight_decay: float = 0.04
    final_weight_decay: float = 0.4
    clip_gradient: float = 3.0
    freeze_last_layer_epochs: int = 1
    drop_path_rate: float = 0.1
    teacher_drop_path: bool = False
    decay_embeddings: bool = False

    def __post_init__(self) -> None:
        require_number(self, "student_temp", "teacher_temp", "warmup_teacher_temp", low=0, open_low=True)
        require_number(self, "teacher_momentum", "center_momentum", low=0, high=1)
        require_number(self, "learning_rate", "clip_gradient", low=0, open_low=True)
        require_number(self, "final_learning_rate", "weight_decay", "final_weight_decay", low=0)
        require_int(self, "warmup_epochs", "warmup_teacher_temp_epochs", "freeze_last_layer_epochs", low=0)
        require_number(self, "drop_path_rate", low=0, high=1)
        if self.drop_path_rate == 1:
            raise ConfigError("DistillationConfig.drop_path_rate must be < 1: nothing would be left")
        require_bool(self, "teacher_drop_path", "decay_embeddings")
        require_choice(self, "centering", get_args(Centering))


@dataclass(frozen=True, kw_only=True)
class EndoFMFixedConfig(DistillationConfig):
    """The preset ``endofm-fixed``: the numbers of the original, the sound choice at each of its quirks.

    Attributes:
        name: Chooses this class in a configuration file.
    """

    name: Literal["endofm-fixed"] = "endofm-fixed"


PUBLISHED_SHARED_DRAWS = 825
"""Clips that one of the original's data workers handled per epoch: of 2741 batches of 3, every tenth."""


@dataclass(frozen=True, kw_only=True)
class EndoFMConfig(DistillationConfig):
    """The preset ``endofm``: as published, with every quirk that changes results, each of them a named option.

    Attributes:
        name: Chooses this class in a configuration file.
    """

    name: Literal["endofm"] = "endofm"
    views: ViewConfig = field(
        default_factory=lambda: ViewConfig(
            crop_rule="last_try", grey_weights="bgr", shared_draws=PUBLISHED_SHARED_DRAWS
        )
    )
    teacher_drop_path: bool = True
    decay_embeddings: bool = True


PRESETS: dict[str, type[DistillationConfig]] = {"endofm": EndoFMConfig, "endofm-fixed": EndoFMFixedConfig}
"""The presets by name; ``docs/pretraining.md`` has their differences, one line each."""
