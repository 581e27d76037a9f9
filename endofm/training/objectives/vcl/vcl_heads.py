"""Modules of VCL besides the backbone: contrast and concept heads, decoders, concept vectors, attention, queue."""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from endofm.training.engine.distributed import world_size

Kind = Literal["v", "s", "d"]
"""Video, static (one frame repeated), dynamic (differences of frames)."""

INPUTS = 6
"""Inputs per video: two of each kind."""

TINY = 1e-8
"""Added to attention, so that a concept that attracts no position is not divided by zero."""


def contrast_head(embed_dim: int, hidden_dim: int, out_dim: int) -> nn.Sequential:
    """Return the map from a clip's feature to the space of global contrast."""
    return nn.Sequential(nn.Linear(embed_dim, hidden_dim), nn.ReLU(), nn.Linear(hidden_dim, out_dim))


def norm_head(in_dim: int, hidden_dim: int, out_dim: int) -> nn.Sequential:
    """Return an MLP with batch norm: the concept heads and the fidelity decoders."""
    return nn.Sequential(
        nn.Linear(in_dim, hidden_dim), CrossProcessBatchNorm(hidden_dim), nn.ReLU(), nn.Linear(hidden_dim, out_dim)
    )


class CrossProcessBatchNorm(nn.BatchNorm1d):
    """Batch norm of ``(rows, features)`` over the rows of all processes.

    ``torch.nn.SyncBatchNorm`` does this on accelerators only. This one works with any process group, so that a run on
    several CPU processes, and its test, computes the same. With one process it is ``BatchNorm1d``.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``(rows, features)``."""
        if not self.training or world_size() == 1:
            return super().forward(x)
        values = x.float()
        rows = values.new_tensor(float(len(values)))
        dist.all_reduce(rows)
        # Two passes, the mean first: E[x^2] - E[x]^2 in one pass would cancel in float32 where |mean| >> deviation.
        mean = _sum_over_processes(values.sum(dim=0)) / rows
        centred = values - mean
        variance = _sum_over_processes(centred.square().sum(dim=0)) / rows
        self._update_running_statistics(mean.detach(), variance.detach(), float(rows))
        out = centred * (variance + self.eps).rsqrt() * self.weight + self.bias
        return out.to(x.dtype)

    @torch.no_grad()
    def _update_running_statistics(self, mean: Tensor, variance: Tensor, rows: float) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        weight = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, weight)
        # As in BatchNorm1d, the running variance is the unbiased one.
        self.running_var.lerp_(variance * (rows / max(rows - 1, 1)), weight)


class _SumOverProcesses(torch.autograd.Function):
    """Sum over processes whose gradient is summed over processes as well.

    Every process's output depends on every process's input with derivative 1, so the gradient of an input is the sum
    of the gradients that all processes have for the sum.
    """

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        value = value.clone()
        dist.all_reduce(value)
        return value

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        grad = grad.contiguous().clone()
        dist.all_reduce(grad)
        return grad


def _sum_over_processes(value: Tensor) -> Tensor:
    total: Tensor = _SumOverProcesses.apply(value)
    return total


class ConceptVectors(nn.Module):
    """Concepts of one kind of input: static ones first, then dynamic ones.

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
        """Scale every row to unit length."""
        self.weight.copy_(F.normalize(self.weight, dim=1))

    def scores(self, x: Tensor) -> Tensor:
        """Return the cosines ``(..., 2 * concepts)`` of vectors ``(..., dim)`` with the concepts, in float32."""
        with torch.autocast(x.device.type, enabled=False):
            return F.normalize(x.float(), dim=-1) @ self.weight.float().T

    def rows(self, kind: Kind) -> Tensor:
        """Return the concepts that concern a kind of input: all, static or dynamic ones."""
        return part(self.weight.T, kind, self.concepts).T


def part(scores: Tensor, kind: Kind, concepts: int) -> Tensor:
    """Return those of the scores ``(..., 2 * concepts)`` that concern a kind of input: all, static or dynamic ones."""
    if kind == "v":
        return scores
    return scores[..., :concepts] if kind == "s" else scores[..., concepts:]


class ConceptAttention(nn.Module):
    """Pools local features into one feature per concept.

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
            # The softmax runs over concepts, not positions: each position is divided among the concepts ...
            weight = (key.float() @ query.float().T).softmax(dim=-1) + TINY  # B P C
            # ... and each concept takes the weighted mean of its positions (slot attention, algorithm 1).
            weight = weight / weight.sum(dim=1, keepdim=True)
            pooled = weight.transpose(1, 2) @ value.float() + concepts.float()  # B C E
        pooled = pooled + self.mlp(self.norm_mlp(pooled))
        return F.normalize(pooled.float(), dim=-1)


class ScoreQueue(nn.Module):
    """The most recent score sets, first in, first out: they make small batches large enough to balance.

    Random at the start, as published, where it is used from the second epoch on.

    Args:
        size: Number of score sets, one per video.
        concepts: Scores per input.

    Attributes:
        scores: float32 ``(size, 6, concepts)``, oldest first; a buffer, so that checkpoints hold it.
    """

    scores: Tensor

    def __init__(self, size: int, concepts: int) -> None:
        super().__init__()
        self.register_buffer("scores", torch.randn(size, INPUTS, concepts))

    @torch.no_grad()
    def push(self, scores: Tensor) -> None:
        """Append score sets ``(videos, 6, concepts)`` and drop as many of the oldest."""
        size = len(self.scores)
        # In place: the buffer must stay the one that was registered and moved to the device. A batch may be larger than
        # the queue, and [-0:] would be everything, hence the case of an empty queue.
        self.scores.copy_(torch.cat((self.scores, scores.detach().to(self.scores)))[-size:] if size else self.scores)
