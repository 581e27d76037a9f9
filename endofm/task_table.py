"""Table of the tasks and their parts.

A task is one folder in ``endofm/tasks`` and one row here. A row names its parts as ``"module:attribute"`` and imports
them on request, so that the configuration and the hub, which are on lower floors than the tasks, can use them. A
program adds its own task with :func:`register_task`.
"""

from __future__ import annotations

import difflib
import importlib
from dataclasses import dataclass
from typing import Any

from endofm.errors import ConfigError, quoted

FEATURES = "features"
"""Task of a model without a head."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """A task and its parts, each as ``"module:attribute"``.

    Attributes:
        name: Name of the task, as in ``config.json``.
        model: Public model class, a :class:`~endofm.models.pretrained.Pretrained`.
        layout: Checkpoint layouts and text for the model card, a :class:`~endofm.hub.task_layout.TaskLayout`.
        head_config: Configuration of the head, a :class:`~endofm.config.HeadConfig`; None for the encoder alone.
        finetuning: Fine-tuning recipe, a :class:`~endofm.training.finetune.recipe.TaskRecipe`; None if the task cannot
            be fine-tuned.
        finetuning_config: Class of the recipe's settings, a
            :class:`~endofm.training.finetune.shared_config.FineTuneConfig`.
        evaluation: Module of ``endofm evaluate TASK``; None if there is no such command.
    """

    name: str
    model: str
    layout: str
    head_config: str | None = None
    finetuning: str | None = None
    finetuning_config: str | None = None
    evaluation: str | None = None

    def load(self, part: str) -> Any:
        """Import and return a part, ``"model"`` for example; None if the task has no such part."""
        reference = getattr(self, part)
        if reference is None:
            return None
        # As in the entry points of setuptools: "package.module:attribute".
        module, _, attribute = reference.partition(":")
        return getattr(importlib.import_module(module), attribute)

    @property
    def model_class(self) -> str:
        """Name of the public model class."""
        return self.model.partition(":")[2]

    @property
    def public_module(self) -> str:
        """Module from which users import the model class."""
        module = self.model.partition(":")[0]
        return "endofm" if module.startswith("endofm.") else module


# The encoder alone is first, because a checkpoint is matched against the last task first.
_TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Task(
            name=FEATURES,
            model="endofm.tasks.features.model:EndoFM",
            layout="endofm.tasks.features.layout:FeaturesTaskLayout",
        ),
        Task(
            name="classification",
            model="endofm.tasks.classification.model:EndoFMForVideoClassification",
            layout="endofm.tasks.classification.layout:ClassificationTaskLayout",
            head_config="endofm.tasks.classification.config:ClassificationHeadConfig",
            finetuning="endofm.training.finetune.classification_recipe:RECIPE",
            finetuning_config="endofm.training.finetune.classification_config:ClassificationConfig",
            evaluation="endofm.cli.evaluate_classification",
        ),
        Task(
            name="detection",
            model="endofm.tasks.detection.model:EndoFMForDetection",
            layout="endofm.tasks.detection.layout:DetectionTaskLayout",
            head_config="endofm.tasks.detection.config:DetectionHeadConfig",
            finetuning="endofm.training.finetune.detection_recipe:RECIPE",
            finetuning_config="endofm.training.finetune.detection_config:DetectionConfig",
            evaluation="endofm.cli.evaluate_detection",
        ),
        Task(
            name="segmentation",
            model="endofm.tasks.segmentation.model:EndoFMForSegmentation",
            layout="endofm.tasks.segmentation.layout:SegmentationTaskLayout",
            head_config="endofm.tasks.segmentation.config:SegmentationHeadConfig",
            finetuning="endofm.training.finetune.segmentation_recipe:RECIPE",
            finetuning_config="endofm.training.finetune.segmentation_config:SegmentationConfig",
            evaluation="endofm.cli.evaluate_segmentation",
        ),
    )
}


def register_task(task: Task) -> None:
    """Add a task to the table in this process.

    Raises:
        ConfigError: If the name is taken.
    """
    if task.name in _TASKS:
        raise ConfigError(f"a task named {quoted(task.name)} is registered already")
    _TASKS[task.name] = task


def task_names() -> list[str]:
    """Return the names of all tasks."""
    return list(_TASKS)


def get_task(name: str) -> Task:
    """Return a task by its name.

    Raises:
        ConfigError: If there is no task of this name; the message names similar ones.
    """
    if not isinstance(name, str) or name not in _TASKS:
        close = difflib.get_close_matches(str(name), _TASKS, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise ConfigError(f"unknown task {quoted(name)}; {hint}this release supports {', '.join(_TASKS)}")
    return _TASKS[name]
