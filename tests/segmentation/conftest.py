"""The published mask model at full size, filled once for the whole session (it has 140 million parameters)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import segmentation_fill
import torch

from endofm.config import EncoderConfig
from endofm.heads.segmentation.hybrid import HybridMaskHead, HybridMaskModel, TokenTransformer
from endofm.hub.segmentation_keys import from_published

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture(scope="session")
def golden() -> dict[str, np.ndarray]:
    return dict(np.load(GOLDEN / "segmentation.npz"))


@pytest.fixture(scope="session")
def published_shapes() -> dict[str, list[int]]:
    shapes: dict[str, list[int]] = json.loads((GOLDEN / "state_dict_keys_segmentation.json").read_text())
    return shapes


@pytest.fixture(scope="session")
def published_tensors(published_shapes: dict[str, list[int]]) -> dict[str, torch.Tensor]:
    """What ``cvc.pth`` holds, with made-up values."""
    segmentation_fill.self_check()
    arrays: dict[str, Any] = segmentation_fill.segmentation_params(published_shapes)
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


@pytest.fixture(scope="session")
def full_model(published_tensors: dict[str, torch.Tensor]) -> HybridMaskModel:
    with torch.device("meta"):
        model = HybridMaskModel(TokenTransformer(EncoderConfig()), HybridMaskHead(dropout=0))
    model.load_state_dict(from_published(published_tensors), assign=True)
    return model.eval()
