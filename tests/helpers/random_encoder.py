"""Encoders with random weights of which none is zero."""

from __future__ import annotations

import torch

from endofm.config import EncoderConfig
from endofm.kernels.precision import Precision
from endofm.models.encoder import VideoTransformer


def random_encoder(
    config: EncoderConfig, precision: Precision = "exact", *, seed: int = 0, noise: float = 0.1
) -> VideoTransformer:
    """Return an encoder in evaluation mode; with no weight zero, no computation can be left out unnoticed.

    Args:
        config: Architecture.
        precision: Numerical precision.
        seed: Of the weights.
        noise: Standard deviation of what is added to the initial weights.
    """
    torch.manual_seed(seed)
    model = VideoTransformer(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(noise * torch.randn_like(parameter))
    model.precision = precision
    return model
