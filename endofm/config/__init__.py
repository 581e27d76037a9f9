"""Frozen dataclasses that describe a model and its preprocessing, and their JSON form.

``config.json`` next to a weights file holds one :class:`ModelConfig`. Unknown keys are refused with a suggestion, so
that a misspelt setting never passes silently.
"""

from endofm.config.model_config import (
    ENCODER_PRESETS,
    FORMAT_VERSION,
    EncoderConfig,
    HeadConfig,
    ModelConfig,
    STAdapterConfig,
)
from endofm.config.preprocess import PAD_MULTIPLE, CropMode, PreprocessConfig

__all__ = [
    "ENCODER_PRESETS",
    "FORMAT_VERSION",
    "PAD_MULTIPLE",
    "CropMode",
    "EncoderConfig",
    "HeadConfig",
    "ModelConfig",
    "PreprocessConfig",
    "STAdapterConfig",
]
