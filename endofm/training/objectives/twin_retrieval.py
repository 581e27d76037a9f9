"""Twin retrieval: whether two views of a clip find each other among the views of other clips."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from endofm.errors import EndoFMWarning

CLIPS = 400
"""Clips among which a twin is searched; fewer where an epoch has fewer."""

FEWEST_CLIPS = 32
"""Clips below which nothing is measured: chance would be too close to success."""

CHANCE_HITS = 3
"""Twins that are found by chance: one is expected, and more than three in 2 of 100 cases."""


class TwinRetrievalWarning(EndoFMWarning):
    """Before training, two views of a clip are no more alike than views of different clips."""


class TwinRetrieval:
    """Collects two views' features of clips over some steps, and counts the twins that are nearest to each other.

    A self-distilling student can learn to tell clips apart only if its teacher does so a little already: where twins
    are found by chance alone before training, it learns the mean of all clips, however healthy the loss looks.

    Args:
        clips_per_epoch: Clips that this process sees in an epoch.
    """

    def __init__(self, clips_per_epoch: int) -> None:
        self._clips = min(CLIPS, clips_per_epoch)
        self._pairs: list[Tensor] = []
        self._measured = False

    @torch.no_grad()
    def add(self, one: Tensor, other: Tensor) -> Mapping[str, float]:
        """Add the features of two views of some clips.

        Args:
            one: ``(clips, width)``.
            other: ``(clips, width)``, in the same order.

        Returns:
            ``twin_retrieval``, the fraction of the first views whose nearest second view is that of the same clip,
            whenever enough clips are collected; nothing otherwise.
        """
        if self._clips < FEWEST_CLIPS:
            return {}
        self._pairs.append(torch.stack([one, other]).float().cpu())
        pairs = torch.cat(self._pairs, dim=1)
        if pairs.shape[1] < self._clips:
            return {}
        self._pairs = []
        # What all clips share says nothing about which is which.
        first, second = F.normalize(pairs[:, : self._clips] - pairs[:, : self._clips].mean(dim=1, keepdim=True), dim=-1)
        found = ((first @ second.T).argmax(dim=1) == torch.arange(self._clips)).sum().item()
        if not self._measured and found <= CHANCE_HITS:
            warnings.warn(
                f"before training, {found} of {self._clips} views find the other view of their clip, which is chance: "
                "this network cannot tell these clips apart, and self-supervision has nothing to hold on to. Start "
                "from a trained encoder (init.source; `endofm pretrain distill` makes one), or use more varied clips",
                TwinRetrievalWarning,
                stacklevel=2,
            )
        self._measured = True
        return {"twin_retrieval": found / self._clips}

    def state(self) -> dict[str, Any]:
        """Return the state for a checkpoint."""
        return {"pairs": list(self._pairs), "measured": self._measured}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore the state that :meth:`state` returned."""
        self._pairs, self._measured = list(state.get("pairs", [])), bool(state.get("measured", True))
