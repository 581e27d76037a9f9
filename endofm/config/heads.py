"""Every head that a configuration can describe, by the name of its task."""

from __future__ import annotations

from endofm.config.classification import ClassificationHeadConfig
from endofm.config.detection import DetectionHeadConfig
from endofm.config.head import HeadConfig
from endofm.config.segmentation import SegmentationHeadConfig

HEAD_CONFIGS: dict[str, type[HeadConfig]] = {
    config.task: config for config in (ClassificationHeadConfig, DetectionHeadConfig, SegmentationHeadConfig)
}
"""A new task adds its class here, a model class, and a file in ``endofm/hub/tasks``."""

FEATURES = "features"
"""Task of a model without a head."""

TASKS: tuple[str, ...] = (FEATURES, *HEAD_CONFIGS)
"""Names of all tasks."""


def model_class_of(task: str) -> str:
    """Return the public class that loads the models of a task, by its name in ``endofm``."""
    return "EndoFM" if task == FEATURES else HEAD_CONFIGS[task].model_class
