"""The small model that attacks use: made once, before the first fork, so that every process inherits it."""

from __future__ import annotations

import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any


@lru_cache(maxsize=1)
def small_model() -> Any:
    """Return an encoder with random weights, the same in every run."""
    import torch

    from endofm import EncoderConfig, EndoFM, ModelConfig, PreprocessConfig

    encoder = EncoderConfig(embed_dim=32, depth=1, num_heads=2, img_size=32, num_frames=2)
    preprocess = PreprocessConfig(num_frames=2, crop_size=32, short_side=32)
    torch.manual_seed(0)
    return EndoFM(ModelConfig(encoder=encoder, preprocess=preprocess, name="attacked")).eval()


@lru_cache(maxsize=1)
def model_files() -> dict[str, bytes]:
    """Return the files of its model folder by name."""
    with tempfile.TemporaryDirectory() as folder:
        small_model().save_pretrained(folder)
        return {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}
