"""An encoder's tensors that come without a configuration: what they are, and whether they are complete and finite."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from endofm.config import EncoderConfig, PreprocessConfig
from endofm.errors import CheckpointFormatError
from endofm.hub.infer import infer_encoder_config
from endofm.hub.state_dict import check_state_dict


def read_encoder_config(
    tensors: Mapping[str, Tensor],
    *,
    num_heads: int | None = None,
    where: str = "checkpoint",
    known: EncoderConfig | None = None,
) -> EncoderConfig:
    """Return the architecture of tensors that come without one, after checking that they are complete and finite.

    Args:
        tensors: The encoder's tensors by name.
        num_heads: Attention heads per block; heads of width 64 by default.
        where: Name of the file, for messages.
        known: Architecture that the tensors must have, if the file is a registered one.

    Raises:
        CheckpointFormatError: If the tensors do not tell an architecture or hold values that are not finite.
        StateDictError: If the tensors are not exactly those of the architecture.
    """
    shapes: dict[str, Any] = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    encoder = known or infer_encoder_config(shapes, num_heads=num_heads, where=where)
    check_state_dict(encoder, tensors, where=where)
    require_finite(tensors, where)
    return encoder


def require_finite(tensors: Mapping[str, Tensor], where: str) -> None:
    """Raise if a tensor holds values that are not finite.

    Raises:
        CheckpointFormatError: Naming the first such tensor.
    """
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise CheckpointFormatError(
                f"{where}: tensor {name!r} holds values that are not finite; training diverged?"
            )


def default_preprocess(encoder: EncoderConfig) -> PreprocessConfig:
    """Return the preprocessing of a file that states none: that of pre-training, at the encoder's size."""
    return PreprocessConfig.for_image_size(encoder.img_size, num_frames=encoder.num_frames)
