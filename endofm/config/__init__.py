"""Frozen dataclasses that describe a model and its preprocessing, and their JSON form.

``config.json`` next to a weights file holds one :class:`ModelConfig`. Unknown keys are refused with a suggestion, so
that a misspelt setting never passes silently.
"""

from endofm.config.model_config import (
    ENCODER_PRESETS,
    FORMAT_VERSION,
    BaseEncoderConfig,
    EncoderConfig,
    HeadConfig,
    ModelConfig,
    ViTConfig,
)
from endofm.config.preprocess import CropMode, PreprocessConfig
from endofm.config.st_adapter_config import STAdapterConfig

__all__ = [
    "ENCODER_PRESETS",
    "FORMAT_VERSION",
    "BaseEncoderConfig",
    "CropMode",
    "EncoderConfig",
    "HeadConfig",
    "ModelConfig",
    "PreprocessConfig",
    "STAdapterConfig",
    "ViTConfig",
]
