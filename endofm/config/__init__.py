"""Frozen dataclasses that describe a model and its preprocessing, and their JSON form.

``config.json`` beside a weights file holds one :class:`ModelConfig`. Unknown keys are refused with a suggestion, so
that a misspelt setting never passes silently.
"""

from endofm.config.adapter import STAdapterConfig
from endofm.config.encoder import ENCODER_PRESETS, EncoderConfig
from endofm.config.head import HeadConfig
from endofm.config.model import FORMAT_VERSION, ModelConfig
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
