"""Networks and tensors of the golden pre-training numbers."""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import Tensor, nn

from endofm.training.objectives.endofm.endofm_config import ProjectionHeadConfig
from helpers.golden_fill import normal_input, params
from helpers.paths import GOLDEN

TINY_HEAD = ProjectionHeadConfig(out_dim=128, hidden_dim=96, bottleneck_dim=32)


def fill(module: nn.Module, salt: str = "") -> None:
    """Give a module the weights that its parameters' names stand for."""
    shapes = {name: tuple(p.shape) for name, p in module.named_parameters()}
    module.load_state_dict({name: torch.from_numpy(a) for name, a in params(shapes, salt).items()}, strict=False)


def tensor(name: str, shape: tuple[int, ...], std: float = 1.0) -> Tensor:
    """Return the normal values that a name stands for."""
    return torch.from_numpy(normal_input(name, shape, std))


@functools.cache
def head_and_loss() -> dict[str, np.ndarray]:
    """Return the published numbers of head, loss, schedules and clipping."""
    return dict(np.load(GOLDEN / "pretraining_head_loss.npz"))
