"""The encoder alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from endofm.config import ModelConfig
from endofm.hub.layout import FoundModel, HubTask, ReadOptions
from endofm.hub.state_dict import Shape, encoder_shapes
from endofm.task_table import FEATURES


class FeaturesTask(HubTask):
    """A clip in, an embedding and patch tokens out."""

    name = FEATURES
    pipeline_tag = "feature-extraction"
    title = "Endoscopy video encoder"
    intended_use = (
        "research on endoscopy video: features for retrieval, clustering and probing, and a starting point for "
        "fine-tuning"
    )

    def matches(self, content: Mapping[str, Any]) -> bool:
        """Take any file; what is in it is found out by reading."""
        return True

    def read(self, content: Mapping[str, Any], options: ReadOptions) -> FoundModel:
        """Return the encoder of any known layout, heads left out."""
        from endofm.hub.checkpoint import find_encoder
        from endofm.hub.encoder_tensors import default_preprocess, read_encoder_config

        found = find_encoder(content, part=options.part, where=options.where)
        known = options.known if found.part != "student" else None
        encoder = read_encoder_config(
            found.tensors, num_heads=options.num_heads, where=options.where, known=known.encoder if known else None
        )
        return FoundModel(
            tensors=found.tensors,
            encoder=encoder,
            preprocess=default_preprocess(encoder),
            head=None,
            layout=found.layout,
            part=found.part,
            left_out_tensors=found.left_out_tensors,
            left_out_entries=found.left_out_entries,
        )

    def shapes(self, config: ModelConfig) -> dict[str, Shape]:
        """Return the encoder's shapes."""
        return encoder_shapes(config.encoder)

    def usage(self, config: ModelConfig) -> str:
        """Return how to embed a video."""
        return (
            'features = model.extract_features("procedure.mp4")\n'
            f"features.embeddings  # (number of clips, {config.encoder.embed_dim})"
        )

    def output(self, config: ModelConfig) -> str:
        """Return what the encoder gives."""
        return "one embedding per clip, and one token per patch and frame"
