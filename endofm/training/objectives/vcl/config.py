"""Settings of the VCL objective."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from endofm.config.checks import require_bool, require_choice, require_int, require_number
from endofm.errors import ConfigError

Colour = Literal["vcl", "endofm"]
Pooling = Literal["class_token", "patch_mean"]


@dataclass(frozen=True, kw_only=True)
class VCLConfig:
    """Settings of VCL (Qian et al., ECCV 2022, arXiv 2207.12795).

    Defaults of the method are those of its code. Optimiser and schedules are Endo-FM's, whatever the objective, so that
    a comparison compares objectives; the original trains a convolutional network by Adam at 1e-3.

    Attributes:
        name: What a configuration file chooses this objective by.
        concepts: Concepts of each kind, static and dynamic.
        hidden_dim: Hidden width of the heads, and width of the space of the concepts.
        contrast_dim: Width that global contrast is done in.
        clip_frames: Frames of each of the two clips.
        max_stride: Largest step between frames, in frames of the file; a step is drawn from 1 up to this.
        crop_size: Side of the clips in pixels.
        crop_scale: Smallest and largest share of the frame's area that a crop shows. The original's is not known; the
            default is that of Endo-FM's global views.
        colour: ``"vcl"``: grey with probability 0.5, then jitter of 0.5 and of hue by 0.25, always, as in the
            original; takes away much of what tells tissue apart. ``"endofm"``: the weaker jitter of Endo-FM's views.
        pooling: ``"class_token"``, or ``"patch_mean"``: the mean of the patch tokens, closer to the pooled feature map
            of the original's convolutional network.
        contrast_temp: Temperature of global contrast.
        score_temp: Temperature of scores in alignment and decoupling.
        assign_temp: Temperature of the balanced assignment.
        assign_iterations: Sinkhorn iterations.
        decoupling_weight: Weight of the decoupling term; all others have 1.
        local_start_epoch: Epoch from which local contrast counts. None: 10, or a third of the epochs if fewer than 30
            are run.
        top_concepts: A concept counts in local contrast if its score is above this rank in both clips.
        margin: Distance from which on local negatives are far enough.
        queue_size: Score sets kept for the balanced assignment.
        gather: In a distributed run, contrast with and balance over the clips of all processes.
        learning_rate: Highest learning rate for 256 clips per step; the one used is in proportion to the clips.
        final_learning_rate: Learning rate that the cosine approaches, whatever the clips per step.
        warmup_epochs: Epochs over which the learning rate rises from 0.
        weight_decay: At the beginning.
        final_weight_decay: Weight decay that the cosine approaches.
        clip_gradient: Largest norm of each tensor's gradient.
        drop_path_rate: Stochastic depth of the last block in training.
        decay_embeddings: Weight decay acts on the class token and the position and time tables, too.
    """

    name: Literal["vcl"] = "vcl"

    concepts: int = 100
    hidden_dim: int = 512
    contrast_dim: int = 128
    clip_frames: int = 8
    max_stride: float = 3.0
    crop_size: int = 224
    crop_scale: tuple[float, float] = (0.4, 1.0)
    colour: Colour = "vcl"
    pooling: Pooling = "class_token"
    contrast_temp: float = 0.07
    score_temp: float = 0.1
    assign_temp: float = 0.05
    assign_iterations: int = 3
    decoupling_weight: float = 0.1
    local_start_epoch: int | None = None
    top_concepts: int = 10
    margin: float = 1.4
    queue_size: int = 1024
    gather: bool = True
    learning_rate: float = 5e-4
    final_learning_rate: float = 1e-6
    warmup_epochs: int = 10
    weight_decay: float = 0.04
    final_weight_decay: float = 0.4
    clip_gradient: float = 3.0
    drop_path_rate: float = 0.1
    decay_embeddings: bool = False

    def __post_init__(self) -> None:
        require_int(self, "concepts", "hidden_dim", "contrast_dim", "clip_frames", "crop_size")
        require_int(self, "assign_iterations", "top_concepts")
        require_int(self, "queue_size", "warmup_epochs", low=0)
        if self.local_start_epoch is not None:
            require_int(self, "local_start_epoch", low=0)
        require_number(self, "max_stride", low=1)
        require_number(self, "contrast_temp", "score_temp", "assign_temp", "margin", low=0, open_low=True)
        require_number(self, "learning_rate", "clip_gradient", low=0, open_low=True)
        require_number(self, "final_learning_rate", "weight_decay", "final_weight_decay", "decoupling_weight", low=0)
        require_number(self, "drop_path_rate", low=0, high=1)
        if self.drop_path_rate == 1:
            raise ConfigError("VCLConfig.drop_path_rate must be < 1: nothing would be left")
        low, high = self.crop_scale if len(self.crop_scale) == 2 else (0.0, 0.0)
        if not 0 < low <= high <= 1:
            raise ConfigError(f"VCLConfig.crop_scale must be two shares in (0, 1], got {self.crop_scale!r}")
        require_bool(self, "gather", "decay_embeddings")
        require_choice(self, "colour", get_args(Colour))
        require_choice(self, "pooling", get_args(Pooling))

    def local_start(self, epochs: int) -> int:
        """Return the epoch from which local contrast counts, in a run of so many epochs."""
        if self.local_start_epoch is not None:
            return self.local_start_epoch
        return 10 if epochs >= 30 else epochs // 3
