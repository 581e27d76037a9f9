"""Settings of the VCL objective."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from endofm.config.checks import require_bool, require_choice, require_int, require_number
from endofm.errors import ConfigError, quoted
from endofm.training.objectives.objective_config import SelfSupervisionConfig

Colour = Literal["vcl", "endofm"]
Pooling = Literal["class_token", "patch_mean"]


@dataclass(frozen=True, kw_only=True)
class VCLConfig(SelfSupervisionConfig):
    """VCL (Qian et al., ECCV 2022, arXiv 2207.12795).

    Defaults of the method are those of its code. Optimizer and schedules are Endo-FM's, whatever the objective; the
    published VCL trains a convolutional network with Adam at 1e-3.

    Attributes:
        name: Selects this objective in a configuration file.
        concepts: Concepts of each kind, static and dynamic.
        hidden_dim: Hidden width of the heads, and width of the concept vectors.
        contrast_dim: Width of the space of global contrast.
        clip_frames: Frames of each of the two clips.
        max_stride: Largest step between frames, in frames of the file; the step is drawn from 1 to this.
        crop_size: Side of the clips in pixels.
        crop_scale: Smallest and largest fraction of the frame's area that a crop covers. The published value is not
            known; the default is that of Endo-FM's global views.
        colour: ``"vcl"``: grey with probability 0.5, then always jitter of 0.5 and hue jitter of 0.25, as published;
            removes much of the colour that distinguishes tissue. ``"endofm"``: the weaker jitter of Endo-FM's views.
        pooling: ``"class_token"``, or ``"patch_mean"``: the mean of the patch tokens, closer to the pooled feature map
            of the published convolutional network.
        contrast_temp: Temperature of global contrast.
        score_temp: Temperature of scores in alignment and decoupling.
        assign_temp: Temperature of the balanced assignment.
        assign_iterations: Sinkhorn iterations.
        decoupling_weight: Weight of the decoupling terms; all others have weight 1.
        local_start_epoch: First epoch with local contrast. None: 10, or a third of the epochs in runs of fewer than 30.
        top_concepts: A concept counts in local contrast if its score is above this rank in both clips.
        margin: Distance beyond which local negatives are no longer pushed apart.
        queue_size: Score sets kept for the balanced assignment.
        gather: In a distributed run, contrast with and balance over the clips of all processes.
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

    def __post_init__(self) -> None:
        super().__post_init__()
        require_int(self, "concepts", "hidden_dim", "contrast_dim", "clip_frames", "crop_size")
        require_int(self, "assign_iterations", "top_concepts")
        require_int(self, "queue_size", low=0)
        if self.local_start_epoch is not None:
            require_int(self, "local_start_epoch", low=0)
        require_number(self, "max_stride", low=1)
        require_number(self, "contrast_temp", "score_temp", "assign_temp", "margin", low=0, open_low=True)
        require_number(self, "decoupling_weight", low=0)
        low, high = self.crop_scale if len(self.crop_scale) == 2 else (0.0, 0.0)
        if not 0 < low <= high <= 1:
            raise ConfigError(f"VCLConfig.crop_scale must be two fractions in (0, 1], got {quoted(self.crop_scale)}")
        require_bool(self, "gather")
        require_choice(self, "colour", get_args(Colour))
        require_choice(self, "pooling", get_args(Pooling))

    def local_start(self, epochs: int) -> int:
        """Return the first epoch with local contrast in a run of ``epochs`` epochs."""
        if self.local_start_epoch is not None:
            return self.local_start_epoch
        return 10 if epochs >= 30 else epochs // 3
