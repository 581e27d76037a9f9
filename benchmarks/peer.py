"""The public peer: ``transformers``' ``TimesformerModel`` with the weights of one of our encoders."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

from torch import Tensor

from endofm.models.encoder import VideoTransformer

# Parameter names of this package and of transformers; both compute divided space-time attention.
_WITHIN = [
    ("patch_embed.proj", "embeddings.patch_embeddings.projection"),
    ("cls_token", "embeddings.cls_token"),
    ("pos_embed", "embeddings.position_embeddings"),
    ("time_embed", "embeddings.time_embeddings"),
    ("temporal_attn.qkv", "temporal_attention.attention.qkv"),
    ("temporal_attn.proj", "temporal_attention.output.dense"),
    ("attn.qkv", "attention.attention.qkv"),
    ("attn.proj", "attention.output.dense"),
    ("temporal_norm1", "temporal_layernorm"),
    ("norm1", "layernorm_before"),
    ("norm2", "layernorm_after"),
    ("temporal_fc", "temporal_dense"),
    ("mlp.fc1", "intermediate.dense"),
    ("mlp.fc2", "output.dense"),
]


def make_peer(encoder: VideoTransformer) -> Callable[[Tensor], Tensor] | None:
    """Return a function from clips to clip embeddings, as ``transformers`` computes them; None if not installed.

    Clips ``(batch, channels, time, height, width)`` must have the size that the encoder was configured for.
    """
    if importlib.util.find_spec("transformers") is None:
        return None
    from transformers import TimesformerConfig, TimesformerModel

    config = encoder.encoder_config
    peer = TimesformerModel(
        TimesformerConfig(
            image_size=config.img_size,
            patch_size=config.patch_size,
            num_frames=config.num_frames,
            hidden_size=config.embed_dim,
            num_hidden_layers=config.depth,
            num_attention_heads=config.num_heads,
            intermediate_size=config.mlp_dim,
            layer_norm_eps=config.layer_norm_eps,
        )
    ).eval()  # type: ignore[no-untyped-call]
    peer.load_state_dict({_renamed(name): tensor for name, tensor in encoder.state_dict().items()}, strict=True)

    def embed(clip: Tensor) -> Tensor:
        token: Tensor = peer(clip.transpose(1, 2)).last_hidden_state[:, 0]
        return token

    return embed


def _renamed(name: str) -> str:
    if name.startswith("norm."):
        return "layernorm." + name.removeprefix("norm.")
    # "temporal_attn.qkv" holds "attn.qkv": the first name that fits is the only one within a block.
    here, there = next(pair for pair in _WITHIN if pair[0] in name)
    return name.replace(here, there).replace("blocks.", "encoder.layer.")
