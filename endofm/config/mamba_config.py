"""The description of an EndoMamba encoder, a part of ``config.json``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from endofm.config.checks import LARGEST_COUNT, LARGEST_SIZE, require_int
from endofm.config.model_config import BaseEncoderConfig
from endofm.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class MambaConfig(BaseEncoderConfig):
    """Architecture of an EndoMamba encoder; the defaults are the published small one.

    Attributes:
        depth: Number of layers.
        spatial_depth: Number of the first layers, which scan every frame in two directions; the others scan the clip in
            the order of time.
        state_size: Values of the state of a channel.
        conv_size: Steps of the causal convolution before a scan.
        expand: Inner width over ``embed_dim``.
    """

    kind: ClassVar[str] = "endomamba"
    num_frames: int = 16
    embed_dim: int = 384
    layer_norm_eps: float = 1e-5
    depth: int = 24
    spatial_depth: int = 12
    state_size: int = 16
    conv_size: int = 4
    expand: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        require_int(self, "depth", high=LARGEST_COUNT)
        require_int(self, "spatial_depth", low=0, high=LARGEST_COUNT)
        require_int(self, "state_size", "conv_size", "expand", high=LARGEST_SIZE)
        if self.spatial_depth > self.depth:
            raise ConfigError(f"MambaConfig.spatial_depth {self.spatial_depth} is larger than the depth {self.depth}")

    @property
    def inner_dim(self) -> int:
        """Width of the scans."""
        return self.expand * self.embed_dim

    @property
    def step_rank(self) -> int:
        """Width of the projection from which the step sizes are made."""
        return -(-self.embed_dim // 16)

    def describe(self) -> str:
        """Return the kind and size of the network."""
        return (
            f"a Mamba over frames and time: {self.spatial_depth} layers within frames, "
            f"{self.depth - self.spatial_depth} over time, width {self.embed_dim}, patches of {self.patch_size} x "
            f"{self.patch_size} pixels"
        )
