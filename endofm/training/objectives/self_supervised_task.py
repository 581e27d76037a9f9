"""Common part of objectives that compare two views of a clip: twin retrieval, and the anchor to the initial encoder."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from endofm.models.encoder import VideoTransformer
from endofm.training.engine.training_task import Plan
from endofm.training.objectives.objective_config import SelfSupervisionConfig
from endofm.training.objectives.pretraining_task import PretrainingTask
from endofm.training.objectives.twin_retrieval import TwinRetrieval


class SelfSupervisedTask(PretrainingTask):
    """Base of self-supervision.

    Args:
        config: The objective.
        encoder: The initial encoder, of which the anchor keeps a copy.

    Attributes:
        anchor: The initial encoder, frozen; None without an anchor.
        twins: Collects class tokens of two views of each clip.
    """

    config: SelfSupervisionConfig

    def __init__(self, config: SelfSupervisionConfig, encoder: VideoTransformer) -> None:
        self.config = config
        self.anchor: VideoTransformer | None = None
        if config.anchor_weight:
            self.anchor = copy.deepcopy(encoder).requires_grad_(False).eval()
            self.helpers = {"anchor": self.anchor}

    def prepare(self, plan: Plan) -> None:
        """Build the schedules; see :meth:`PretrainingTask.prepare`."""
        super().prepare(plan)
        self.twins = TwinRetrieval(plan.steps_per_epoch * plan.batch_size // plan.world_size)

    def anchored(
        self, loss: Tensor, views: Sequence[Tensor], tokens: Tensor
    ) -> tuple[Tensor, Mapping[str, Tensor | float]]:
        """Return the loss with the anchor added, and the metric ``anchor``; the loss as it is without an anchor.

        Args:
            loss: Loss of the objective.
            views: Views, each ``(clips, 3, time, height, width)``.
            tokens: Class tokens of the trained encoder for these views, ``(views * clips, embed_dim)``.
        """
        if self.anchor is None:
            return loss, {}
        with torch.no_grad():
            start = torch.cat([self.anchor(view) for view in views])
        distance = 1 - F.cosine_similarity(tokens.float(), start.float()).mean()
        return loss + self.config.anchor_weight * distance, {"anchor": distance.detach()}

    def extra_state(self) -> dict[str, Any]:
        """Return the views that are collected for twin retrieval."""
        return {"twins": self.twins.state()}

    def load_extra_state(self, state: Mapping[str, Any]) -> None:
        """Restore them; checkpoints of earlier versions have none."""
        self.twins.load_state(state.get("twins", {}))
