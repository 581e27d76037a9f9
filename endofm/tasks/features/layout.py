"""Checkpoint layouts and card text of the encoder alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from endofm.config import ModelConfig
from endofm.hub.task_layout import PublishedModel, ReadOptions, TaskLayout
from endofm.task_table import FEATURES


class FeaturesTaskLayout(TaskLayout):
    """Clip to one embedding and patch tokens."""

    name = FEATURES
    pipeline_tag = "feature-extraction"
    title = "Endoscopy video encoder"
    intended_use = (
        "research on endoscopy video: features for retrieval, clustering and probing, and a starting point for "
        "fine-tuning"
    )

    def matches(self, content: Mapping[str, Any]) -> bool:
        """Return True for every file: any of them may hold an encoder, and reading it decides."""
        return True

    def read(self, content: Mapping[str, Any], options: ReadOptions) -> PublishedModel:
        """Return the encoder of any supported layout, without heads."""
        from endofm.hub.encoder_layout import read_encoder

        return read_encoder(content, options)

    def usage(self, config: ModelConfig) -> str:
        """Return the lines that embed a video."""
        return (
            'features = model.extract_features("procedure.mp4")\n'
            f"features.embeddings  # (number of clips, {config.encoder.embed_dim})"
        )

    def output(self, config: ModelConfig) -> str:
        """Return the encoder's output."""
        return "one embedding per clip, and one token per patch and frame"
