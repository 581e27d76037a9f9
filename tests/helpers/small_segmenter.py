"""A segmentation model that is small enough for every test."""

from __future__ import annotations

from typing import Any

import torch

from endofm.config import EncoderConfig, ModelConfig, PreprocessConfig
from endofm.tasks.segmentation.config import SegmentationHeadConfig
from endofm.tasks.segmentation.model import EndoFMForSegmentation

SIDE = 64
ENCODER = EncoderConfig(img_size=SIDE, num_frames=4, embed_dim=32, depth=2, num_heads=2)


def segmentation_head(network: str = "hybrid", *, num_classes: int = 2, **changes: Any) -> SegmentationHeadConfig:
    return SegmentationHeadConfig(
        labels=("background", "polyp", *(f"class {i}" for i in range(2, num_classes)))[:num_classes],
        network=network,  # type: ignore[arg-type]
        stem_width=32,
        stem_units=(1, 2, 1),
        decoder_widths=(32, 16, 16, 8, 8),
        light_width=32,
        **changes,
    )


def small_segmenter(network: str = "hybrid", *, num_classes: int = 2, trained: bool = True) -> EndoFMForSegmentation:
    """Return a model all of whose parameters matter: none is zero, as fresh tables and projections over time are."""
    config = ModelConfig(
        encoder=ENCODER,
        preprocess=PreprocessConfig.whole_frame(SIDE, num_frames=4),
        head=segmentation_head(network, num_classes=num_classes),
        trained=trained,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = EndoFMForSegmentation(config)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.15 * torch.randn_like(parameter))
    return model.eval()
