"""Balanced soft assignment of samples to prototypes by Sinkhorn iterations."""

from __future__ import annotations

import math

import torch
from torch import Tensor


@torch.no_grad()
def balanced_assignment(scores: Tensor, *, temperature: float, iterations: int) -> Tensor:
    """Assign every sample softly to prototypes, so that all prototypes are used about equally.

    Sinkhorn-Knopp as in SwAV (arXiv 2006.09882, section 3.1): ``Q = diag(u) exp(scores / temperature) diag(v)``, where
    ``u`` and ``v`` are found by normalising columns and rows in turn.

    Args:
        scores: Similarities ``(samples, prototypes)``, any floating dtype.
        temperature: Divisor of the scores, > 0.
        iterations: Rounds, >= 1.

    Returns:
        float32 ``(samples, prototypes)`` without gradient; every row sums to 1, every column to about
        ``samples / prototypes``, the closer the more iterations.
    """
    # In logarithms and float32: scores of 1 at a temperature of 0.05 give exp(20), which half precision cannot hold.
    # Dividing by a sum becomes subtracting its logarithm, and no exponential leaves [0, 1].
    with torch.autocast(scores.device.type, enabled=False):
        samples, prototypes = scores.shape
        log_q = scores.float() / temperature
        for _ in range(iterations):
            # Every prototype receives the same mass, 1 / prototypes, ...
            log_q = log_q - log_q.logsumexp(dim=0, keepdim=True) - math.log(prototypes)
            # ... and every sample then gives away the same mass, 1 / samples.
            log_q = log_q - log_q.logsumexp(dim=1, keepdim=True) - math.log(samples)
        # Rows sum to 1 / samples; the softmax rescales each of them to a distribution.
        return log_q.softmax(dim=1)
