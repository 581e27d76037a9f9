"""Local concept contrast: which concepts of a pair of clips count, and how far apart their features are.

Source: Qian et al., ECCV 2022, arXiv 2207.12795, and its public code.
"""

from __future__ import annotations

import torch
from torch import Tensor

TINY = 1e-5
"""Added under the square root of a distance, whose slope at zero is infinite."""


@torch.no_grad()
def selected_concepts(first: Tensor, second: Tensor, *, rank: int) -> Tensor:
    """Tell which concepts both clips of a pair show strongly.

    Args:
        first: Scores ``(batch, concepts)`` of the first clips.
        second: Scores of the second clips.
        rank: A score counts if it is strictly above the ``rank``-th largest (of fewer concepts: the smallest).

    Returns:
        bool ``(batch, concepts)``, at most ``rank - 1`` true per row.
    """
    place = min(rank, first.shape[1])
    strong = [scores > scores.topk(place, dim=1).values[:, -1:] for scores in (first, second)]
    return strong[0] & strong[1]


def local_contrast(query: Tensor, keys: Tensor, selected: Tensor, *, margin: float, first: int = 0) -> Tensor:
    """Draw together the same concept of the same video, push apart the same concept of different videos.

    Args:
        query: Concept features of unit length, ``(batch, concepts, width)``.
        keys: Those of the other clip of all videos, ``(videos, concepts, width)``; used without gradient.
        selected: bool ``(batch, concepts)``, which concepts of a query count.
        margin: Distance from which on another video is far enough.
        first: Which key belongs to the first query; the others follow.

    Returns:
        Scalar, the sum over the selected concepts; 0 if there is none.
    """
    batch, videos = len(query), len(keys)
    cosines = torch.einsum("bce,nce->bnc", query.float(), keys.detach().float())
    distance = (2 - 2 * cosines + TINY).sqrt()
    own = torch.zeros(batch, videos, dtype=torch.bool, device=query.device)
    own[torch.arange(batch), torch.arange(first, first + batch)] = True
    apart = (margin - distance).clamp(min=0).square().masked_fill(own.unsqueeze(-1), 0).sum(dim=1)
    together = distance[own].square()
    cost = together + apart / max(videos - 1, 1)  # batch, concepts
    return cost.masked_fill(~selected, 0).sum()
