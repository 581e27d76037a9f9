"""Pretrained video foundation model for endoscopy: from a video file to features.

Research software. No result of it is medical advice, and it is not a medical device.

Public names are imported on first use, so that ``import endofm`` costs almost nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from endofm._version import __version__

if TYPE_CHECKING:
    from endofm.config import (
        ClassificationHeadConfig,
        DetectionHeadConfig,
        EncoderConfig,
        ModelConfig,
        PreprocessConfig,
        SegmentationHeadConfig,
    )
    from endofm.hub.registry import list_models
    from endofm.inference.detections import VideoDetections
    from endofm.inference.features import VideoFeatures
    from endofm.inference.masks.video_masks import VideoMasks
    from endofm.models.classification import EndoFMForVideoClassification
    from endofm.models.detection import EndoFMForDetection
    from endofm.models.encoder import VideoTransformer
    from endofm.models.endofm import EndoFM
    from endofm.models.pretrained import load_model
    from endofm.models.segmentation import EndoFMForSegmentation
    from endofm.outputs import EncoderOutput
    from endofm.transforms.processor import Processor
    from endofm.video.open import open_video

_HOMES = {
    "ClassificationHeadConfig": "endofm.config",
    "DetectionHeadConfig": "endofm.config",
    "EncoderConfig": "endofm.config",
    "EncoderOutput": "endofm.outputs",
    "EndoFM": "endofm.models.endofm",
    "EndoFMForDetection": "endofm.models.detection",
    "EndoFMForSegmentation": "endofm.models.segmentation",
    "EndoFMForVideoClassification": "endofm.models.classification",
    "ModelConfig": "endofm.config",
    "PreprocessConfig": "endofm.config",
    "Processor": "endofm.transforms.processor",
    "SegmentationHeadConfig": "endofm.config",
    "VideoDetections": "endofm.inference.detections",
    "VideoFeatures": "endofm.inference.features",
    "VideoMasks": "endofm.inference.masks.video_masks",
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
