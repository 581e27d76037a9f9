"""From settings to everything that a pre-training run needs of this objective."""

from __future__ import annotations

from endofm.training.objectives.distillation.config import DistillationConfig
from endofm.training.objectives.distillation.published import load_training_state
from endofm.training.objectives.distillation.task import DistillationTask
from endofm.training.objectives.interface import ObjectiveParts, Start
from endofm.training.views.span import RandomSpan
from endofm.training.views.transform import CutViews


def build(config: DistillationConfig, start: Start) -> ObjectiveParts:
    """Return task, frame sampler and transform.

    Args:
        config: The objective.
        start: What the run begins with.

    Raises:
        ConfigError: If the views do not fit the encoder.
        CheckpointFormatError: If the checkpoint to go on from is of no known layout.
        StateDictError: If it is of another model.
    """
    task = DistillationTask(config, start.make_encoder())
    if start.checkpoint is not None:
        load_training_state(start.checkpoint, task.network, task.teacher, task.loss)
    return ObjectiveParts(task=task, sampler=RandomSpan(config.views.span_seconds), transform=CutViews(config.views))
