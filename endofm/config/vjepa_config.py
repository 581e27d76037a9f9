"""The description of a V-JEPA 2 encoder, a part of ``config.json``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from endofm.config.checks import LARGEST_COUNT, require_int
from endofm.config.model_config import ViTConfig
from endofm.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class VJepaConfig(ViTConfig):
    """Architecture of a V-JEPA 2 encoder; the defaults are ViT-L for 64 frames of 256 x 256.

    Attributes:
        tubelet_size: Frames of a tubelet, which one token stands for.
    """

    kind: ClassVar[str] = "v-jepa-2"
    img_size: int = 256
    num_frames: int = 64
    embed_dim: int = 1024
    depth: int = 24
    num_heads: int = 16
    tubelet_size: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        require_int(self, "tubelet_size", high=LARGEST_COUNT)
        if self.num_frames % self.tubelet_size:
            raise ConfigError(
                f"VJepaConfig.num_frames {self.num_frames} is not a multiple of tubelet_size {self.tubelet_size}"
            )
        # Each of time, rows and columns rotates pairs of channels.
        if self.embed_dim // self.num_heads < 6 or (self.embed_dim // self.num_heads) % 2:
            raise ConfigError("VJepaConfig needs heads of an even number of channels, at least 6")

    def describe(self) -> str:
        """Return the kind and size of the network."""
        return f"a V-JEPA 2 video transformer: {super().describe()}, tubelets of {self.tubelet_size} frames"
