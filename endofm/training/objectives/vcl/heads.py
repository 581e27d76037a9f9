"""Small networks of VCL: contrast heads, concept heads, fidelity decoders, concept vectors, concept attention."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from endofm.training.objectives.collective import SharedBatchNorm

Kind = Literal["v", "s", "d"]
"""Video, static (one frame held), dynamic (differences of frames)."""

TINY = 1e-8
"""Added to attention, so that a concept that no position chose is not divided by zero."""


def contrast_head(embed_dim: int, hidden_dim: int, out_dim: int) -> nn.Sequential:
    """Return the map from a clip's feature to the space of global contrast."""
    return nn.Sequential(nn.Linear(embed_dim, hidden_dim), nn.ReLU(), nn.Linear(hidden_dim, out_dim))


def norm_head(in_dim: int, hidden_dim: int, out_dim: int) -> nn.Sequential:
    """Return a map with batch norm: the concept heads and the fidelity decoders."""
    return nn.Sequential(
        nn.Linear(in_dim, hidden_dim), SharedBatchNorm(hidden_dim), nn.ReLU(), nn.Linear(hidden_dim, out_dim)
    )


class ConceptVectors(nn.Module):
    """The concepts of one kind of input: static ones first, dynamic ones after them.

    Args:
        concepts: Concepts of each kind; there are twice as many rows.
        dim: Width.

    Attributes:
        weight: ``(2 * concepts, dim)``, rows of unit length.
    """

    def __init__(self, concepts: int, dim: int) -> None:
        super().__init__()
        self.concepts = concepts
        self.weight = nn.Parameter(torch.empty(2 * concepts, dim))
        nn.init.normal_(self.weight)
        self.normalize()

    @torch.no_grad()
    def normalize(self) -> None:
        """Set every row to unit length."""
        self.weight.copy_(F.normalize(self.weight, dim=1))

    def scores(self, x: Tensor) -> Tensor:
        """Return the cosines ``(..., 2 * concepts)`` of vectors ``(..., dim)`` with the concepts, in float32."""
        with torch.autocast(x.device.type, enabled=False):
            return F.normalize(x.float(), dim=-1) @ self.weight.float().T

    def rows(self, kind: Kind) -> Tensor:
        """Return the concepts that this kind of input is rebuilt from and compared by: all, static or dynamic ones."""
        return part(self.weight.T, kind, self.concepts).T


def part(scores: Tensor, kind: Kind, concepts: int) -> Tensor:
    """Return of scores ``(..., 2 * concepts)`` those that concern a kind of input: all, static or dynamic ones."""
    if kind == "v":
        return scores
    return scores[..., :concepts] if kind == "s" else scores[..., concepts:]


class ConceptAttention(nn.Module):
    """Collects for every concept what the local features say of it.

    One round of attention in which concepts compete for positions, as in slot attention (arXiv 2006.15055).

    Args:
        embed_dim: Width of the local features.
        dim: Width of the concepts.
    """

    def __init__(self, embed_dim: int, dim: int) -> None:
        super().__init__()
        self.scale = dim**-0.5
        self.norm_local = nn.LayerNorm(embed_dim)
        self.norm_concept = nn.LayerNorm(dim)
        self.to_query = nn.Linear(dim, dim, bias=False)
        self.to_key = nn.Linear(embed_dim, dim, bias=False)
        self.to_value = nn.Linear(embed_dim, dim, bias=False)
        self.norm_mlp = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(nn.Linear(dim, dim // 2), nn.ReLU(), nn.Linear(dim // 2, dim))

    def forward(self, local: Tensor, concepts: Tensor) -> Tensor:
        """Return concept features.

        Args:
            local: Patch tokens of clips, ``(batch, positions, embed_dim)``.
            concepts: ``(concepts, dim)``.

        Returns:
            float32 ``(batch, concepts, dim)`` of unit length.
        """
        local = self.norm_local(local)
        key, value = self.to_key(local), self.to_value(local)  # B P E
        query = self.to_query(self.norm_concept(concepts)) * self.scale  # C E
        with torch.autocast(local.device.type, enabled=False):
            share = (key.float() @ query.float().T).softmax(dim=-1) + TINY  # B P C
            share = share / share.sum(dim=1, keepdim=True)
            found = share.transpose(1, 2) @ value.float() + concepts.float()  # B C E
        found = found + self.mlp(self.norm_mlp(found))
        return F.normalize(found.float(), dim=-1)
