"""Settings of the VCL objective."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from endofm.errors import ConfigError

Colour = Literal["vcl", "endofm"]
Pooling = Literal["class_token", "patch_mean"]


@dataclass(frozen=True, kw_only=True)
class VCLConfig:
    """Settings of VCL (Qian et al., ECCV 2022, arXiv 2207.12795); the defaults are those of its code.

    Attributes:
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
    """

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
        for name in (
            "concepts",
            "hidden_dim",
            "contrast_dim",
            "clip_frames",
            "crop_size",
            "assign_iterations",
            "top_concepts",
        ):
            self._check_int(name, 1)
        self._check_int("queue_size", 0)
        if self.local_start_epoch is not None:
            self._check_int("local_start_epoch", 0)
        for name in ("contrast_temp", "score_temp", "assign_temp", "margin"):
            self._check_number(name, above=0)
        if self._check_number("max_stride", above=0) < 1:
            raise ConfigError(f"VCLConfig.max_stride must be at least 1, got {self.max_stride!r}")
        if not isinstance(self.decoupling_weight, (int, float)) or self.decoupling_weight < 0:
            raise ConfigError(f"VCLConfig.decoupling_weight must be a number >= 0, got {self.decoupling_weight!r}")
        low, high = self.crop_scale if len(self.crop_scale) == 2 else (0.0, 0.0)
        if not 0 < low <= high <= 1:
            raise ConfigError(f"VCLConfig.crop_scale must be two shares in (0, 1], got {self.crop_scale!r}")
        for name, words in (("colour", get_args(Colour)), ("pooling", get_args(Pooling))):
            if getattr(self, name) not in words:
                raise ConfigError(f"VCLConfig.{name} must be one of {', '.join(words)}, got {getattr(self, name)!r}")

    def local_start(self, epochs: int) -> int:
        """Return the epoch from which local contrast counts, in a run of so many epochs."""
        if self.local_start_epoch is not None:
            return self.local_start_epoch
        return 10 if epochs >= 30 else epochs // 3

    def _check_int(self, name: str, least: int) -> None:
        value = getattr(self, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise ConfigError(f"VCLConfig.{name} must be a whole number >= {least}, got {value!r}")

    def _check_number(self, name: str, *, above: float) -> float:
        value = getattr(self, name)
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not above < value < float("inf"):
            raise ConfigError(f"VCLConfig.{name} must be a number > {above:g}, got {value!r}")
        return value
