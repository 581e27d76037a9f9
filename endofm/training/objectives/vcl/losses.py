"""The terms of VCL that look at whole clips: contrast, alignment, decoupling, fidelity.

Source: Qian et al., ECCV 2022, arXiv 2207.12795, and its public code. All are means in float32. Scores are cosines, and
the temperatures make them large: none of it is done in half precision.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def contrast(query: Tensor, keys: Tensor, *, temperature: float, first: int = 0) -> Tensor:
    """InfoNCE: every query must find the key of its own video among those of all videos.

    Args:
        query: ``(batch, width)``, any length.
        keys: ``(videos, width)``, any length; used without gradient.
        temperature: What cosines are divided by.
        first: Which key belongs to the first query; the others follow.

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
        temperature: What scores are divided by.

    Returns:
        Scalar, the mean over ordered pairs of different inputs and over the batch.
    """
    inputs, batch, _ = scores.shape
    log_p = (scores.float() / temperature).log_softmax(dim=-1)
    pairs = -torch.einsum("ibc,kbc->ik", assignments.detach(), log_p) / batch
    return (pairs.sum() - pairs.trace()) / (inputs * (inputs - 1))


def negative_entropy(scores: Tensor, *, temperature: float) -> Tensor:
    """Mean of ``sum p log p`` over all rows; least, ``-log(concepts)``, where scores say nothing.

    Args:
        scores: ``(..., concepts)``.
        temperature: What scores are divided by.

    Returns:
        Scalar <= 0.
    """
    log_p = (scores.float() / temperature).log_softmax(dim=-1)
    return (log_p.exp() * log_p).sum(dim=-1).mean()


def fidelity(features: Tensor, rebuilt: Tensor) -> Tensor:
    """Minus the mean cosine between features and what was rebuilt of them from their scores.

    Args:
        features: ``(..., width)``; used without gradient.
        rebuilt: Of the same shape.

    Returns:
        Scalar in [-1, 1].
    """
    return -F.cosine_similarity(features.detach().float(), rebuilt.float(), dim=-1).mean()
