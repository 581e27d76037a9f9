"""Architecture of the encoder."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from endofm.config.adapter import STAdapterConfig
from endofm.config.checks import require_bool, require_choice, require_int, require_number
from endofm.errors import ConfigError

AttentionType = Literal["divided_space_time", "space_only"]


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """Architecture of the divided space-time video transformer.

    The defaults are the published Endo-FM backbone (ViT-B/16, 8 frames of 224 x 224).

    Attributes:
        img_size: Side in pixels of the square image that the position table ``pos_embed`` was made for.
        patch_size: Side of a patch in pixels.
        num_frames: Number of rows of the time table ``time_embed``.
        in_chans: Number of input channels.
        embed_dim: Width of the tokens.
        depth: Number of blocks.
        num_heads: Attention heads per block; divides ``embed_dim``.
        mlp_ratio: Hidden width of the MLP over ``embed_dim``.
        qkv_bias: Whether the fused query-key-value projections have a bias.
        layer_norm_eps: Epsilon of every layer norm.
        drop_path_rate: Stochastic depth of the last block; blocks before it grow linearly from 0. Acts in training
            mode only. The original trains with 0.1.
        attention_type: ``"divided_space_time"``, or ``"space_only"``: an image transformer run on every frame, without
            time table and attention over time.
        st_adapter: Adapters in the blocks, None for none.
    """

    img_size: int = 224
    patch_size: int = 16
    num_frames: int = 8
    in_chans: int = 3
    embed_dim: int = 768
    depth: int = 12
    num_heads: int = 12
    mlp_ratio: float = 4.0
    qkv_bias: bool = True
    layer_norm_eps: float = 1e-6
    drop_path_rate: float = 0.0
    attention_type: AttentionType = "divided_space_time"
    st_adapter: STAdapterConfig | None = None

    def __post_init__(self) -> None:
        require_int(self, "img_size", "patch_size", "num_frames", "in_chans", "embed_dim", "depth", "num_heads")
        require_number(self, "mlp_ratio", "layer_norm_eps", low=0, open_low=True)
        require_bool(self, "qkv_bias")
        require_number(self, "drop_path_rate", low=0, high=1, open_high=True)
        require_choice(self, "attention_type", get_args(AttentionType))
        if self.st_adapter is not None and not isinstance(self.st_adapter, STAdapterConfig):
            raise ConfigError(f"EncoderConfig.st_adapter must be None or an STAdapterConfig, got {self.st_adapter!r}")
        if self.img_size % self.patch_size:
            raise ConfigError(
                f"EncoderConfig.img_size {self.img_size} is not a multiple of patch_size {self.patch_size}"
            )
        if self.embed_dim % self.num_heads:
            raise ConfigError(
                f"EncoderConfig.embed_dim {self.embed_dim} is not a multiple of num_heads {self.num_heads}"
            )

    @property
    def grid_size(self) -> int:
        """Patches along one side of the image that the position table was made for."""
        return self.img_size // self.patch_size

    @property
    def mlp_dim(self) -> int:
        """Hidden width of the MLP."""
        return int(self.embed_dim * self.mlp_ratio)

    @classmethod
    def preset(cls, name: str, **changes: Any) -> EncoderConfig:
        """Return a named architecture, optionally with some fields changed.

        Args:
            name: ``"tiny"`` (192 wide), ``"small"`` (384) or ``"base"`` (768, the paper's).
            **changes: Fields to replace.

        Raises:
            ConfigError: If the name is unknown or a changed field is not valid.
        """
        if name not in ENCODER_PRESETS:
            raise ConfigError(f"unknown encoder preset {name!r}; choose one of {', '.join(ENCODER_PRESETS)}")
        try:
            return replace(ENCODER_PRESETS[name], **changes)
        except TypeError as error:
            raise ConfigError(f"EncoderConfig.preset({name!r}): {error}") from error


ENCODER_PRESETS: dict[str, EncoderConfig] = {
    # Widths and heads of DeiT's tiny, small and base image transformers (arXiv 2012.12877, table 1).
    "tiny": EncoderConfig(embed_dim=192, num_heads=3),
    "small": EncoderConfig(embed_dim=384, num_heads=6),
    "base": EncoderConfig(),
}
