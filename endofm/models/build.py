"""From the description of an encoder to its network."""

from __future__ import annotations

from endofm.config import BaseEncoderConfig, EncoderConfig
from endofm.encoder_table import get_encoder_kind
from endofm.models.encoder import ClipEncoder, VideoTransformer
from endofm.models.frame_encoder import FrameTransformer


def network_class(config: BaseEncoderConfig) -> type[ClipEncoder]:
    """Return the class of an encoder's network."""
    if isinstance(config, EncoderConfig):
        return FrameTransformer if config.attention_type == "space_only" else VideoTransformer
    network: type[ClipEncoder] = get_encoder_kind(config.kind).load("network")
    return network


def build_encoder(config: BaseEncoderConfig) -> ClipEncoder:
    """Return a new encoder with random weights."""
    return network_class(config)(config)
