"""The projection head between class token and prototypes."""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from endofm.training.objectives.endofm.endofm_config import ProjectionHeadConfig


class WeightNormLinear(nn.Module):
    """Weight-normalised linear layer without bias: ``W = g v / |v|`` row by row (arXiv 1602.07868).

    Parameter names are those of the published checkpoint. As published, ``g`` stays at 1 and is not trained, so that
    the output is the cosine of the input, which has unit length, with each prototype.

    Args:
        in_features: Width of the input.
        out_features: Number of rows.
    """

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.weight_g = nn.Parameter(torch.ones(out_features, 1), requires_grad=False)
        self.weight_v = nn.Parameter(torch.empty(out_features, in_features))
        nn.init.kaiming_uniform_(self.weight_v, a=5**0.5)  # default of nn.Linear

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(..., in_features)`` to ``(..., out_features)``."""
        weight = self.weight_v * (self.weight_g / self.weight_v.norm(dim=1, keepdim=True))
        return F.linear(x, weight)


class ProjectionHead(nn.Module):
    """MLP, normalisation to unit length, then similarities to prototypes (DINO, arXiv 2104.14294, appendix C).

    Parameter names are those of the published checkpoint (``mlp.0``, ``mlp.2``, ``mlp.4``, ``last_layer``), unless
    hidden layers are normalised, which the published head does not do.

    Args:
        embed_dim: Width of the class token.
        config: Widths.
    """

    def __init__(self, embed_dim: int, config: ProjectionHeadConfig) -> None:
        super().__init__()
        widths = [embed_dim, *[config.hidden_dim] * (config.num_layers - 1), config.bottleneck_dim]
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(widths[:-1]):
            if config.norm == "batch":
                # The norm subtracts a bias again.
                layers += [nn.Linear(before, after, bias=False), nn.BatchNorm1d(after), nn.GELU()]
            else:
                layers += [nn.Linear(before, after), nn.GELU()]
        self.mlp = nn.Sequential(
            *layers, nn.Linear(widths[-2], widths[-1])
        )  # neither norm nor activation after the last layer
        self.last_layer = WeightNormLinear(config.bottleneck_dim, config.out_dim)
        for module in self.mlp:
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map class tokens ``(rows, embed_dim)`` to logits ``(rows, out_dim)``."""
        x = F.normalize(self.mlp(x), dim=-1, eps=1e-12)
        logits: Tensor = self.last_layer(x)
        return logits
