"""Balanced assignment of samples to concepts by Sinkhorn's iterations."""

from __future__ import annotations

import math

import torch
from torch import Tensor


@torch.no_grad()
def balanced_assignment(scores: Tensor, *, temperature: float, iterations: int) -> Tensor:
    """Assign every sample softly to concepts, so that all concepts are used about equally.

    Alternates between giving every concept the same share of all samples and every sample the same weight
    (Sinkhorn-Knopp, as in SwAV, arXiv 2006.09882, section 3.1). Computed on logarithms in float32: scores of 1 over a
    temperature of 0.05 are beyond what half precision can hold, and here no exponential leaves [0, 1].

    Args:
        scores: Similarities ``(samples, concepts)``, any floating dtype.
        temperature: What scores are divided by, > 0.
        iterations: Rounds, >= 1.

    Returns:
        float32 ``(samples, concepts)`` without gradient; every row sums to 1, every column to about
        ``samples / concepts``, the closer the more iterations.
    """
    with torch.autocast(scores.device.type, enabled=False):
        samples, concepts = scores.shape
        log_q = scores.float() / temperature
        for _ in range(iterations):
            log_q = log_q - log_q.logsumexp(dim=0, keepdim=True) - math.log(concepts)
            log_q = log_q - log_q.logsumexp(dim=1, keepdim=True) - math.log(samples)
        return log_q.softmax(dim=1)
