"""Pretrained video foundation model for endoscopy: from a video file to features.

Research software. No result of it is medical advice, and it is not a medical device.

Public names are imported on first use, so that ``import endofm`` costs almost nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from endofm._version import __version__

if TYPE_CHECKING:
    from endofm.config import EncoderConfig, ModelConfig, PreprocessConfig
    from endofm.hub.registry import list_models
    from endofm.models.encoder import VideoTransformer
    from endofm.models.pretrained import load_model
    from endofm.outputs import EncoderOutput
    from endofm.tasks.classification.config import ClassificationHeadConfig
    from endofm.tasks.classification.model import EndoFMForVideoClassification
    from endofm.tasks.detection.config import DetectionHeadConfig
    from endofm.tasks.detection.model import EndoFMForDetection
    from endofm.tasks.detection.results import VideoDetections
    from endofm.tasks.features.model import EndoFM
    from endofm.tasks.features.results import VideoFeatures
    from endofm.tasks.segmentation.config import SegmentationHeadConfig
    from endofm.tasks.segmentation.model import EndoFMForSegmentation
    from endofm.tasks.segmentation.results import VideoMasks
    from endofm.transforms.processor import Processor
    from endofm.video.open import open_video

_HOMES = {
    "ClassificationHeadConfig": "endofm.tasks.classification.config",
    "DetectionHeadConfig": "endofm.tasks.detection.config",
    "EncoderConfig": "endofm.config",
    "EncoderOutput": "endofm.outputs",
    "EndoFM": "endofm.tasks.features.model",
    "EndoFMForDetection": "endofm.tasks.detection.model",
    "EndoFMForSegmentation": "endofm.tasks.segmentation.model",
    "EndoFMForVideoClassification": "endofm.tasks.classification.model",
    "ModelConfig": "endofm.config",
    "PreprocessConfig": "endofm.config",
    "Processor": "endofm.transforms.processor",
    "SegmentationHeadConfig": "endofm.tasks.segmentation.config",
    "VideoDetections": "endofm.tasks.detection.results",
    "VideoFeatures": "endofm.tasks.features.results",
    "VideoMasks": "endofm.tasks.segmentation.results",
    "VideoTransformer": "endofm.models.encoder",
    "load_model": "endofm.models.pretrained",
    "list_models": "endofm.hub.registry",
    "open_video": "endofm.video.open",
}

__all__ = [
    "ClassificationHeadConfig",
    "DetectionHeadConfig",
    "EncoderConfig",
    "EncoderOutput",
    "EndoFM",
    "EndoFMForDetection",
    "EndoFMForSegmentation",
    "EndoFMForVideoClassification",
    "ModelConfig",
    "PreprocessConfig",
    "Processor",
    "SegmentationHeadConfig",
    "VideoDetections",
    "VideoFeatures",
    "VideoMasks",
    "VideoTransformer",
    "__version__",
    "list_models",
    "load_model",
    "open_video",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'endofm' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
