"""The last scores, which make small batches large enough for a balanced assignment."""

from __future__ import annotations

import torch
from torch import Tensor, nn

INPUTS = 6


class ScoreQueue(nn.Module):
    """The last score sets in the order of their arrival, first in first out.

    Random at the start, as in the original, which uses it from the second epoch on.

    Args:
        size: Number of score sets, one per video.
        concepts: Scores per input.

    Attributes:
        scores: float32 ``(size, 6, concepts)``, oldest first; a buffer, so a checkpoint holds it.
    """

    scores: Tensor

    def __init__(self, size: int, concepts: int) -> None:
        super().__init__()
        self.register_buffer("scores", torch.randn(size, INPUTS, concepts))

    @torch.no_grad()
    def push(self, scores: Tensor) -> None:
        """Append score sets ``(videos, 6, concepts)`` and drop as many of the oldest."""
        size = len(self.scores)
        self.scores.copy_(torch.cat((self.scores, scores.detach().to(self.scores)))[-size:] if size else self.scores)
