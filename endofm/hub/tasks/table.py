"""The tasks by name."""

from __future__ import annotations

from endofm.hub.tasks.base import HubTask
from endofm.hub.tasks.classification import ClassificationTask
from endofm.hub.tasks.detection import DetectionTask
from endofm.hub.tasks.features import FeaturesTask
from endofm.hub.tasks.segmentation import SegmentationTask

# In the order in which the layout of an original checkpoint is looked for; the encoder takes what nobody else knows.
_TASKS: dict[str, HubTask] = {
    task.name: task for task in (ClassificationTask(), DetectionTask(), SegmentationTask(), FeaturesTask())
}


def hub_task(name: str) -> HubTask:
    """Return what the hub knows of a task."""
    return _TASKS[name]


def hub_tasks() -> list[HubTask]:
    """Return all tasks, in the order in which the layout of an original checkpoint is looked for."""
    return list(_TASKS.values())
