"""Settings of Endo-FM's objective, and its two presets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

from endofm.config.checks import require_bool, require_choice, require_int, require_number
from endofm.training.objectives.objective_config import SelfSupervisionConfig
from endofm.training.views.view_config import ViewConfig

Centering = Literal["running_mean", "sinkhorn"]
HeadNorm = Literal["none", "batch"]


@dataclass(frozen=True, kw_only=True)
class ProjectionHeadConfig:
    """Widths of the projection head. The defaults are the published ones; small encoders need smaller heads.

    Attributes:
        out_dim: Number of prototypes, the width of the output.
        hidden_dim: Hidden width of the MLP.
        bottleneck_dim: Width between MLP and prototypes.
        num_layers: Linear layers of the MLP.
        norm: ``"batch"`` normalises every hidden layer over the batch (``use_bn_in_head`` of DINO): outputs then differ
            between clips from the start, which short runs need. ``"none"`` is as published.
    """

    out_dim: int = 65536
    hidden_dim: int = 2048
    bottleneck_dim: int = 256
    num_layers: int = 3
    norm: HeadNorm = "none"

    def __post_init__(self) -> None:
        require_int(self, "out_dim", low=2)
        require_int(self, "hidden_dim", "bottleneck_dim", "num_layers")
        require_choice(self, "norm", get_args(HeadNorm))


@dataclass(frozen=True, kw_only=True)
class EndoFMObjectiveConfig(SelfSupervisionConfig):
    """Endo-FM's self-supervision (arXiv 2306.16741): DINO (arXiv 2104.14294) on video.

    The defaults are the published numbers, with a correction of each quirk of the published code;
    :class:`EndoFMFixedConfig` and :class:`EndoFMPublishedConfig` give the two presets their names.

    Attributes:
        views: Views of a clip.
        head: Projection head.
        student_temp: Temperature of the student's output.
        teacher_temp: Temperature of the teacher's output.
        warmup_teacher_temp: Temperature of the teacher's output in the first epoch.
        warmup_teacher_temp_epochs: Epochs over which it changes to ``teacher_temp``.
        teacher_momentum: Fraction of the teacher that is kept per step, at the start; rises to 1 by a cosine.
        centering: How the teacher is kept from giving every clip the same output. ``"running_mean"`` subtracts the
            centre (DINO, as published). ``"sinkhorn"`` balances the use of the prototypes within the batch (SwAV, arXiv
            2006.09882; DINOv2, arXiv 2304.07193). Short runs of small networks from random weights, whose outputs
            hardly differ, did not start to learn without it.
        center_momentum: Fraction of the centre that is kept per step; no effect with ``"sinkhorn"``.
        freeze_last_layer_epochs: First epochs, in which the prototypes are not trained.
        teacher_drop_path: Apply stochastic depth in the teacher as well, as published.
    """

    views: ViewConfig = field(default_factory=ViewConfig)
    head: ProjectionHeadConfig = field(default_factory=ProjectionHeadConfig)
    student_temp: float = 0.1
    teacher_temp: float = 0.04
    warmup_teacher_temp: float = 0.04
    warmup_teacher_temp_epochs: int = 0
    teacher_momentum: float = 0.996
    centering: Centering = "running_mean"
    center_momentum: float = 0.9
    freeze_last_layer_epochs: int = 1
    teacher_drop_path: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        require_number(self, "student_temp", "teacher_temp", "warmup_teacher_temp", low=0, open_low=True)
        require_number(self, "teacher_momentum", "center_momentum", low=0, high=1)
        require_int(self, "warmup_teacher_temp_epochs", "freeze_last_layer_epochs", low=0)
        require_bool(self, "teacher_drop_path")
        require_choice(self, "centering", get_args(Centering))


@dataclass(frozen=True, kw_only=True)
class EndoFMFixedConfig(EndoFMObjectiveConfig):
    """The preset ``endofm-fixed``: the published numbers, with each quirk of the published code corrected.

    Attributes:
        name: Selects this preset in a configuration file.
    """

    name: Literal["endofm-fixed"] = "endofm-fixed"


PUBLISHED_SHARED_DRAWS = 825
"""Clips that one data worker of the published run handles per epoch: of 2741 batches of 3, every tenth."""


@dataclass(frozen=True, kw_only=True)
class EndoFMPublishedConfig(EndoFMObjectiveConfig):
    """The preset ``endofm``: as published, with every quirk that changes results, each of them a named option.

    Attributes:
        name: Selects this preset in a configuration file.
    """

    name: Literal["endofm"] = "endofm"
    views: ViewConfig = field(
        default_factory=lambda: ViewConfig(
            crop_rule="last_try", grey_weights="bgr", shared_draws=PUBLISHED_SHARED_DRAWS
        )
    )
    teacher_drop_path: bool = True
    decay_embeddings: bool = True
