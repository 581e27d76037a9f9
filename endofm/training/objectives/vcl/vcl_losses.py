"""Terms of the VCL loss: contrast, alignment, decoupling and fidelity of clips, local contrast of concepts.

Source: Qian et al., ECCV 2022, arXiv 2207.12795, and its public code. Scores are cosines, and the temperatures make
them large, so that everything is computed in float32.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

TINY = 1e-5
"""Added under the square root of a distance, whose slope at zero is infinite."""


def contrast(query: Tensor, keys: Tensor, *, temperature: float, first: int = 0) -> Tensor:
    """InfoNCE: each query must identify the key of its own video among those of all videos.

    ``- log( exp(cos(q, k_own) / t) / sum_n exp(cos(q, k_n) / t) )`` (arXiv 1807.03748, equation 4).

    Args:
        query: ``(batch, width)``, of any length.
        keys: ``(videos, width)``, of any length; used without gradient.
        temperature: Divisor of the cosines, t.
        first: Index of the key of the first query; the others follow.

    Returns:
        Scalar, the mean over queries.
    """
    cosines = F.normalize(query.float(), dim=1) @ F.normalize(keys.detach().float(), dim=1).T
    target = torch.arange(first, first + len(query), device=query.device)
    return F.cross_entropy(cosines / temperature, target)


def alignment(scores: Tensor, assignments: Tensor, *, temperature: float) -> Tensor:
    """Cross-entropy between the balanced assignment of each input and the scores of every other one.

    Args:
        scores: ``(inputs, batch, concepts)``.
        assignments: ``(inputs, batch, concepts)``, rows sum to 1; used without gradient.
        temperature: Divisor of the scores.

    Returns:
        Scalar, the mean over ordered pairs of different inputs and over the batch.
    """
    inputs, batch, _ = scores.shape
    log_p = (scores.float() / temperature).log_softmax(dim=-1)
    # Cross-entropy of every pair (assignment of i, scores of k); the trace holds the pairs i = k, which do not count.
    pairs = -torch.einsum("ibc,kbc->ik", assignments.detach(), log_p) / batch
    return (pairs.sum() - pairs.trace()) / (inputs * (inputs - 1))


def negative_entropy(scores: Tensor, *, temperature: float) -> Tensor:
    """Mean of ``sum p log p`` over all rows; smallest, ``-log(concepts)``, where scores are uninformative.

    Args:
        scores: ``(..., concepts)``.
        temperature: Divisor of the scores.

    Returns:
        Scalar <= 0.
    """
    log_p = (scores.float() / temperature).log_softmax(dim=-1)
    return (log_p.exp() * log_p).sum(dim=-1).mean()


def fidelity(features: Tensor, rebuilt: Tensor) -> Tensor:
    """Negative mean cosine between features and their reconstruction from scores.

    Args:
        features: ``(..., width)``; used without gradient.
        rebuilt: Of the same shape.

    Returns:
        Scalar in [-1, 1].
    """
    return -F.cosine_similarity(features.detach().float(), rebuilt.float(), dim=-1).mean()


@torch.no_grad()
def selected_concepts(first: Tensor, second: Tensor, *, rank: int) -> Tensor:
    """Return which concepts score highly in both clips of a pair.

    Args:
        first: Scores ``(batch, concepts)`` of the first clips.
        second: Scores of the second clips.
        rank: A score counts if it is strictly above the ``rank``-th largest (with fewer concepts: the smallest).

    Returns:
        bool ``(batch, concepts)``, at most ``rank - 1`` true per row.
    """
    rank = min(rank, first.shape[1])
    high = [scores > scores.topk(rank, dim=1).values[:, -1:] for scores in (first, second)]
    return high[0] & high[1]


def local_contrast(query: Tensor, keys: Tensor, selected: Tensor, *, margin: float, first: int = 0) -> Tensor:
    """Pull the same concept of the same video together, push the same concept of different videos apart.

    For a concept of a query, with distances ``d``: ``d_own^2 + mean_n max(0, margin - d_n)^2`` over the other videos n.

    Args:
        query: Concept features of unit length, ``(batch, concepts, width)``.
        keys: Those of the other clip of all videos, ``(videos, concepts, width)``; used without gradient.
        selected: bool ``(batch, concepts)``, which concepts of a query count.
        margin: Distance beyond which another video is far enough.
        first: Index of the key of the first query; the others follow.

    Returns:
        Scalar, the sum over the selected concepts; 0 if there is none.
    """
    batch, videos = len(query), len(keys)
    cosines = torch.einsum("bce,nce->bnc", query.float(), keys.detach().float())
    # |q - k|^2 = |q|^2 + |k|^2 - 2 q k = 2 - 2 cos for unit vectors.
    distance = (2 - 2 * cosines + TINY).sqrt()
    own = torch.zeros(batch, videos, dtype=torch.bool, device=query.device)
    own[torch.arange(batch), torch.arange(first, first + batch)] = True
    apart = (margin - distance).clamp(min=0).square().masked_fill(own.unsqueeze(-1), 0).sum(dim=1)
    together = distance[own].square()
    cost = together + apart / max(videos - 1, 1)  # batch, concepts
    return cost.masked_fill(~selected, 0).sum()
