"""A detector small enough for tests, and footage for it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from endofm import DetectionHeadConfig, EncoderConfig, EndoFMForDetection, ModelConfig, PreprocessConfig

LABELS = ("adenomatous", "hyperplastic")


def tiny_config(size: int = 96, **head: object) -> ModelConfig:
    values: dict[str, object] = {"labels": LABELS, "channels": 16, "tower_depth": 1, "norm_groups": 4, **head}
    return ModelConfig(
        encoder=EncoderConfig(img_size=64, embed_dim=32, depth=1, num_heads=2, num_frames=4),
        preprocess=PreprocessConfig.fitted_frame(size, num_frames=1),
        head=DetectionHeadConfig(**values),  # type: ignore[arg-type]
        trained=False,
    )


def tiny_detector(size: int = 96, seed: int = 0, **head: object) -> EndoFMForDetection:
    """Random weights, scaled up so that scores spread and frames differ."""
    torch.manual_seed(seed)
    model = EndoFMForDetection(tiny_config(size, **head)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.startswith("head.") and parameter.ndim == 4:
                parameter.mul_(12)
            if "logits.bias" in name:
                parameter.fill_(1.0)
    return model


def footage(frames: int = 12, height: int = 72, width: int = 96, seed: int = 0) -> npt.NDArray[np.uint8]:
    """Noise with a bright square that wanders."""
    rng = np.random.default_rng(seed)
    out = rng.integers(0, 90, (frames, height, width, 3), dtype=np.uint8)
    for i in range(frames):
        out[i, 10 + i : 30 + i, 2 * i : 2 * i + 24] = 230
    return out
