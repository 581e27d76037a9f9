"""An encoder small enough to write, send and read in milliseconds, and checkpoints of it in the original layouts."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from endofm import EndoFM
from endofm.config import EncoderConfig, ModelConfig, PreprocessConfig
from endofm.models.build import build_encoder
from helpers.golden_fill import params

ENCODER = EncoderConfig(img_size=32, patch_size=16, num_frames=4, embed_dim=64, depth=2, num_heads=4)
CONFIG = ModelConfig(encoder=ENCODER, preprocess=PreprocessConfig.for_image_size(32, num_frames=4))

SMALLER = ModelConfig(
    encoder=EncoderConfig(img_size=32, num_frames=4, embed_dim=24, depth=2, num_heads=2),
    preprocess=PreprocessConfig.for_image_size(32, num_frames=4, window_seconds=1.0),
    name="made-for-tests",
)
"""Windows of a second, to embed videos of a few seconds."""


def save_smaller(folder: Path) -> Path:
    """Write the folder of a model of this kind, always with the same random weights."""
    torch.manual_seed(0)
    return EndoFM(SMALLER).save_pretrained(folder)


# Projection head of the original (mlp of three linears, then a weight-normalised one), scaled down.
HEAD_SHAPES = {
    "mlp.0.weight": (96, 64),
    "mlp.0.bias": (96,),
    "mlp.2.weight": (96, 96),
    "mlp.2.bias": (96,),
    "mlp.4.weight": (32, 96),
    "mlp.4.bias": (32,),
    "last_layer.weight_g": (128, 1),
    "last_layer.weight_v": (128, 32),
}


def encoder_shapes(config: EncoderConfig) -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor of an encoder by name."""
    with torch.device("meta"):
        return {name: tuple(tensor.shape) for name, tensor in build_encoder(config).state_dict().items()}


def tensors(salt: str = "") -> dict[str, Tensor]:
    """Return weights of the small encoder; ``salt`` gives another set."""
    return {name: torch.from_numpy(value) for name, value in params(encoder_shapes(ENCODER), salt).items()}


def prefixed(values: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {prefix + name: value for name, value in values.items()}


def with_head(prefix: str = "", salt: str = "") -> dict[str, Tensor]:
    """Return encoder and projection head under the names of the published file."""
    head = {name: torch.from_numpy(value) for name, value in params(HEAD_SHAPES, salt).items()}
    return prefixed(tensors(salt), f"{prefix}backbone.") | prefixed(head, f"{prefix}head.")


def training_checkpoint() -> dict[str, Any]:
    """Return what the original's training writes: two networks, and an optimiser whose rates are numpy scalars."""
    student = with_head("module.", salt="student/")
    return {
        "student": student,
        "teacher": with_head(salt="teacher/"),
        "optimizer": {
            "state": {0: {"step": 3, "exp_avg": torch.zeros(4)}},
            "param_groups": [{"lr": np.float64(1e-5), "weight_decay": np.float64(0.4), "params": [0]}],
        },
        "epoch": 30,
        "args": argparse.Namespace(arch="timesformer", lr=2e-5, local_crops_scale=(0.05, 0.4)),
        "dino_loss": {"center": torch.zeros(1, 128)},
        "fp16_scaler": {"scale": 65536.0, "growth_factor": 2.0},
    }


def same(left: Mapping[str, Tensor], right: Mapping[str, Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)
