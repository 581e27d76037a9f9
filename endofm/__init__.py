"""Pretrained video foundation model for endoscopy: from a video file to features.

Research software: no result is medical advice. It is not a medical device.

Public names are imported on first use, so that ``import endofm`` does not import torch.
"""

from __future__ import annotations

import importlib
import logging
from typing import TYPE_CHECKING, Any

from endofm._version import __version__ as __version__

if TYPE_CHECKING:
    # For type checkers and editors, which do not execute __getattr__; "as" marks the names as exported.
    from endofm.config import EncoderConfig as EncoderConfig
    from endofm.config import ModelConfig as ModelConfig
    from endofm.config import PreprocessConfig as PreprocessConfig
    from endofm.demo import demo_video as demo_video
    from endofm.hub.registry import list_models as list_models
    from endofm.library.feature_library import FeatureLibrary as FeatureLibrary
    from endofm.models.auto import load_model as load_model
    from endofm.models.encoder import VideoTransformer as VideoTransformer
    from endofm.outputs import EncoderOutput as EncoderOutput
    from endofm.tasks.classification.config import ClassificationHeadConfig as ClassificationHeadConfig
    from endofm.tasks.classification.model import EndoFMForVideoClassification as EndoFMForVideoClassification
    from endofm.tasks.classification.results import VideoClassification as VideoClassification
    from endofm.tasks.detection.config import DetectionHeadConfig as DetectionHeadConfig
    from endofm.tasks.detection.model import EndoFMForDetection as EndoFMForDetection
    from endofm.tasks.detection.results import VideoDetections as VideoDetections
    from endofm.tasks.features.feature_set import FeatureSet as FeatureSet
    from endofm.tasks.features.model import EndoFM as EndoFM
    from endofm.tasks.features.model import VideoEncoder as VideoEncoder
    from endofm.tasks.features.model import extract_features as extract_features
    from endofm.tasks.features.model import load_encoder as load_encoder
    from endofm.tasks.features.results import VideoFeatures as VideoFeatures
    from endofm.tasks.segmentation.config import SegmentationHeadConfig as SegmentationHeadConfig
    from endofm.tasks.segmentation.model import EndoFMForSegmentation as EndoFMForSegmentation
    from endofm.tasks.segmentation.results import VideoMasks as VideoMasks
    from endofm.transforms.processor import Processor as Processor
    from endofm.video.open import open_video as open_video

# A program that configures no logging sees none: Python would print warnings.
logging.getLogger(__name__).addHandler(logging.NullHandler())

# Module of every public name.
_MODULES = {
    "ClassificationHeadConfig": "endofm.tasks.classification.config",
    "DetectionHeadConfig": "endofm.tasks.detection.config",
    "EncoderConfig": "endofm.config",
    "EncoderOutput": "endofm.outputs",
    "EndoFM": "endofm.tasks.features.model",
    "EndoFMForDetection": "endofm.tasks.detection.model",
    "EndoFMForSegmentation": "endofm.tasks.segmentation.model",
    "EndoFMForVideoClassification": "endofm.tasks.classification.model",
    "FeatureLibrary": "endofm.library.feature_library",
    "FeatureSet": "endofm.tasks.features.feature_set",
    "ModelConfig": "endofm.config",
    "PreprocessConfig": "endofm.config",
    "Processor": "endofm.transforms.processor",
    "SegmentationHeadConfig": "endofm.tasks.segmentation.config",
    "VideoClassification": "endofm.tasks.classification.results",
    "VideoDetections": "endofm.tasks.detection.results",
    "VideoEncoder": "endofm.tasks.features.model",
    "VideoFeatures": "endofm.tasks.features.results",
    "VideoMasks": "endofm.tasks.segmentation.results",
    "VideoTransformer": "endofm.models.encoder",
    "demo_video": "endofm.demo",
    "extract_features": "endofm.tasks.features.model",
    "list_models": "endofm.hub.registry",
    "load_encoder": "endofm.tasks.features.model",
    "load_model": "endofm.models.auto",
    "open_video": "endofm.video.open",
}

__all__ = ["__version__", *_MODULES]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'endofm' has no attribute {name!r}")
    value = getattr(importlib.import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
