"""A mask model that learns, as the training loop sees it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from torch import Tensor

from endofm.evaluation.mask_metrics import ClipScores, mask_metrics
from endofm.tasks.segmentation.mask_loss import mask_loss
from endofm.tasks.segmentation.model import EndoFMForSegmentation
from endofm.training.engine.training_task import StepOutput
from endofm.training.finetune.segmentation.config import SegmentationConfig
from endofm.training.finetune.segmentation.data import MaskedFrames
from endofm.training.finetune.task import FineTuningTask
from endofm.training.transfer.base import Transfer


class SegmentationTask(FineTuningTask):
    """Cross-entropy and Dice over clips.

    Args:
        model: The mask model, prepared for its transfer method.
        transfer: The method.
        config: All settings.
        validator: Scores the validation set.

    Attributes:
        odd_frames: What is odd about the frames that were learnt from, as sentences.
    """

    def __init__(
        self,
        model: EndoFMForSegmentation,
        transfer: Transfer,
        config: SegmentationConfig,
        *,
        validator: Callable[[EndoFMForSegmentation], list[ClipScores]] | None = None,
    ) -> None:
        super().__init__(
            model,
            transfer,
            config.optimizer,
            config.schedule,
            name=config.model.name,
            license=config.model.license,
        )
        self.loss_config = config.loss
        self.validator = validator
        self.odd_frames: dict[str, None] = {}

    def loss(self, network: Callable[..., Any], batch: Any) -> StepOutput:
        """Compute the loss of a batch of clips with masks."""
        frames: MaskedFrames = batch.frames
        self.odd_frames |= dict.fromkeys(frames.notes)
        logits: Tensor = network(frames.pixels)
        config = self.loss_config
        found = mask_loss(logits, frames.labels, dice_weight=config.dice_weight, dice_per_clip=config.dice_per_clip)
        return StepOutput(
            found.total, {"cross_entropy": found.cross_entropy.detach(), "dice_loss": found.dice.detach()}
        )

    def validate(self, epoch: int) -> Mapping[str, float]:
        """Score the validation set."""
        if self.validator is None:
            return {}
        assert isinstance(self.network, EndoFMForSegmentation)
        found = mask_metrics(self.validator(self.network))
        # What is not defined on this set, such as distances where nothing was found, is left out. Dice always is.
        return {name: value for name, value in found.items() if not np.isnan(value)}
