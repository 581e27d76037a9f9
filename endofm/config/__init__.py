"""Frozen dataclasses that describe a model and its preprocessing, and their JSON form.

``config.json`` beside a weights file holds one :class:`ModelConfig`. Unknown keys are refused with a suggestion, so
that a misspelt setting never passes silently.
"""

from endofm.config.adapter import STAdapterConfig
from endofm.config.classification import ClassificationHeadConfig
from endofm.config.detection import DetectionHeadConfig
from endofm.config.encoder import ENCODER_PRESETS, EncoderConfig
from endofm.config.head import HeadConfig
from endofm.config.heads import FEATURES, HEAD_CONFIGS, TASKS, model_class_of
from endofm.config.model import FORMAT_VERSION, ModelConfig
from endofm.config.preprocess import PAD_MULTIPLE, CropMode, PreprocessConfig
from endofm.config.segmentation import SegmentationHeadConfig

__all__ = [
    "ENCODER_PRESETS",
    "FEATURES",
    "FORMAT_VERSION",
    "HEAD_CONFIGS",
    "PAD_MULTIPLE",
    "TASKS",
    "ClassificationHeadConfig",
    "CropMode",
    "DetectionHeadConfig",
    "EncoderConfig",
    "HeadConfig",
    "ModelConfig",
    "PreprocessConfig",
    "STAdapterConfig",
    "SegmentationHeadConfig",
    "model_class_of",
]
