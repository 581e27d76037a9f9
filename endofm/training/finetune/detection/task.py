"""A detector that learns, as the training loop sees it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from endofm.data.detection.samples import DetectionBatch
from endofm.evaluation.detection_metrics import DetectionMetrics
from endofm.evaluation.detection_records import DetectionResults
from endofm.tasks.detection.detection_losses import detection_losses
from endofm.tasks.detection.model import EndoFMForDetection
from endofm.training.engine.distributed import all_reduce_mean
from endofm.training.engine.training_task import StepOutput
from endofm.training.finetune.detection.config import DetectionConfig
from endofm.training.finetune.detection.published import PublishedSgdConfig, make_published_sgd
from endofm.training.finetune.recipe import make_optimizer
from endofm.training.finetune.task import FineTuningTask
from endofm.training.transfer.base import Transfer

STRIDES_PER_LIMIT = 8.0
"""Longest distance to a side of a box that a level is in charge of, in its strides: 64 pixels at stride 8, as FCOS."""


class DetectionTask(FineTuningTask):
    """The five losses of the detector.

    Args:
        model: The detector, prepared for its transfer method.
        transfer: The method.
        config: All settings.
        validator: Runs the detector on the validation set.
    """

    def __init__(
        self,
        model: EndoFMForDetection,
        transfer: Transfer,
        config: DetectionConfig,
        *,
        validator: Callable[[EndoFMForDetection], DetectionResults] | None = None,
    ) -> None:
        super().__init__(
            model,
            transfer,
            config.optimizer,  # type: ignore[arg-type] # the published one has all that is asked of it
            config.schedule,  # type: ignore[arg-type] # likewise
            name=config.model.name,
            license=config.model.license,
        )
        self.config, self.detector, self.validator = config, model, validator
        self.limits = tuple(STRIDES_PER_LIMIT * stride for stride in model.head.strides[:-1])

    def make_optimizer(self) -> torch.optim.Optimizer:
        """Return the optimiser that the settings name."""
        optimizer = self.config.optimizer
        if isinstance(optimizer, PublishedSgdConfig):
            return make_published_sgd(self.network, optimizer)
        return make_optimizer(self.network, optimizer)

    def loss(self, network: Callable[..., Any], batch: Any) -> StepOutput:
        """Compute the losses of a batch of target frames with their supports."""
        samples: DetectionBatch = batch.frames
        levels, refined = network(samples.clips, samples.targets, together=self.config.data.together)
        losses = detection_losses(
            levels, refined, samples.boxes, samples.labels, size_limits=self.limits, average=all_reduce_mean
        )
        return StepOutput(losses.total(), {f"loss_{name}": value.detach() for name, value in losses._asdict().items()})

    def validate(self, epoch: int) -> Mapping[str, float]:
        """Run the detector on the validation set."""
        if self.validator is None:
            return {}
        metrics = DetectionMetrics(self.validator(self.detector), threshold=self.config.evaluation.threshold)
        # What is not defined on this set says nothing for or against an epoch.
        return {name: 0.0 if np.isnan(value) else value for name, value in metrics.over().items()}
