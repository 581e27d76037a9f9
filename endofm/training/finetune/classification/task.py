"""A classifier that learns, as the training loop sees it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from endofm.data.class_targets import Targets
from endofm.evaluation.classification_metrics import classification_metrics
from endofm.evaluation.predictions import Predictions
from endofm.tasks.classification.model import EndoFMForVideoClassification
from endofm.training.engine.training_task import StepOutput
from endofm.training.finetune.classification.config import ClassificationConfig
from endofm.training.finetune.task import FineTuningTask
from endofm.training.transfer.base import Transfer


class ClassificationTask(FineTuningTask):
    """Cross-entropy, or binary cross-entropies if several labels may hold.

    Args:
        model: The classifier, prepared for its transfer method.
        transfer: The method.
        config: All settings.
        targets: Meaning of the labels.
        weights: Weight per class; None for equal weights.
        validator: Classifies the validation set.
    """

    def __init__(
        self,
        model: EndoFMForVideoClassification,
        transfer: Transfer,
        config: ClassificationConfig,
        targets: Targets,
        *,
        weights: npt.NDArray[np.float32] | None = None,
        validator: Callable[[EndoFMForVideoClassification], Predictions] | None = None,
    ) -> None:
        super().__init__(
            model,
            transfer,
            config.optimizer,
            config.schedule,
            name=config.model.name,
            license=config.model.license,
            sources=config.data.train,
        )
        self.smoothing = config.data.label_smoothing
        self.rows = torch.from_numpy(targets.rows)
        self.multi_label = targets.multi_label
        self.weights = None if weights is None else torch.from_numpy(weights)
        self.validator = validator

    def loss(self, network: Callable[..., Any], batch: Any) -> StepOutput:
        """Compute the loss of a batch of clips with labels."""
        logits = network(batch.frames).float()
        target = self.rows.to(logits.device)[batch.labels]
        weights = None if self.weights is None else self.weights.to(logits.device)
        if self.multi_label:
            target = target * (1 - self.smoothing) + self.smoothing / 2
            loss = F.binary_cross_entropy_with_logits(logits, target, pos_weight=weights)
            right = ((logits > 0) == (target > 0.5)).float().mean()
        else:
            loss = F.cross_entropy(logits, batch.labels, weight=weights, label_smoothing=self.smoothing)
            right = (logits.argmax(-1) == batch.labels).float().mean()
        return StepOutput(loss, {"accuracy": right})

    def validate(self, epoch: int) -> Mapping[str, float]:
        """Classify the validation set."""
        if self.validator is None:
            return {}
        assert isinstance(self.network, EndoFMForVideoClassification)
        found = classification_metrics(self.validator(self.network))
        # What is not defined on this set says nothing for or against an epoch.
        return {name: 0.0 if np.isnan(value) else value for name, value in found.items()}
