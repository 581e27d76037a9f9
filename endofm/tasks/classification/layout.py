"""Video classifiers: the original's fine-tuned files, and the tensors of our own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from endofm.config import EncoderConfig, ModelConfig, PreprocessConfig
from endofm.errors import CheckpointFormatError, InputError
from endofm.hub.layout import FoundModel, HubTask, ReadOptions
from endofm.hub.state_dict import Shape, encoder_shapes
from endofm.tasks.classification.config import ClassificationHeadConfig

if TYPE_CHECKING:
    from torch import Tensor

BACKBONE, LINEAR = "backbone_state_dict", "state_dict"
"""Entries of the original's fine-tuned file: the encoder, and the linear layer on it."""

_WRAPPER = "module."
_RENAMED = {"linear.weight": "head.linear.weight", "linear.bias": "head.linear.bias"}
"""Names of the original's classifier, without its wrapper, and ours."""


def published_preprocess(encoder: EncoderConfig) -> PreprocessConfig:
    """Return the preprocessing that the original evaluates its classifiers with.

    Source: ``eval_finetune.py`` and ``datasets/ucf101.py`` of med-air/Endo-FM, commit 206427e: statistics of its own,
    the shorter side resized to the crop's, the left or top crop, and 8 frames over 256 frames at 30 per second.
    """
    size = encoder.img_size
    return PreprocessConfig(
        num_frames=encoder.num_frames,
        window_seconds=32 * encoder.num_frames / 30,
        short_side=size,
        crop_size=size,
        crop="upstream",
        mean=(0.45, 0.45, 0.45),
        std=(0.225, 0.225, 0.225),
    )


class ClassificationTask(HubTask):
    """A clip in, a probability per class out."""

    name = ClassificationHeadConfig.task
    pipeline_tag = "video-classification"
    title = "Endoscopy video classifier"
    intended_use = "research on the classification of endoscopy video"

    def matches(self, content: Mapping[str, Any]) -> bool:
        """Say whether both entries are there and the second holds the linear layer."""
        linear = content.get(LINEAR)
        if not isinstance(linear, Mapping) or not isinstance(content.get(BACKBONE), Mapping):
            return False
        return {str(name).removeprefix(_WRAPPER) for name in linear} == set(_RENAMED)

    def read(self, content: Mapping[str, Any], options: ReadOptions) -> FoundModel:
        """Return encoder and linear layer of a fine-tuned file."""
        from endofm.hub.checkpoint import find_encoder, plain_tensors
        from endofm.hub.encoder_tensors import read_encoder_config, require_finite

        where = options.where
        if options.part is not None:
            raise InputError(f"{where}: a fine-tuned file has no part {options.part!r}")
        if not self.matches(content):
            raise CheckpointFormatError(
                f"{where}: a classifier of the original code has the entries {BACKBONE} and {LINEAR} (the linear "
                "layer); this file has not"
            )
        known = options.known
        found = find_encoder({BACKBONE: content[BACKBONE]}, where=where)
        encoder = read_encoder_config(
            found.tensors, num_heads=options.num_heads, where=where, known=known.encoder if known else None
        )
        linear = plain_tensors(content[LINEAR], where)
        tensors: dict[str, Tensor] = {f"backbone.{name}": tensor for name, tensor in found.tensors.items()}
        tensors |= {_RENAMED[name.removeprefix(_WRAPPER)]: tensor for name, tensor in linear.items()}
        require_finite(tensors, where)
        if known is not None and isinstance(known.head, ClassificationHeadConfig):
            head = known.head
        else:
            head = ClassificationHeadConfig(labels=_labels(tensors["head.linear.weight"], options))
        preprocess = published_preprocess(encoder)
        self.check(ModelConfig(encoder=encoder, preprocess=preprocess, head=head), tensors, where=where)
        return FoundModel(
            tensors=tensors,
            encoder=encoder,
            preprocess=preprocess,
            head=head,
            layout="fine-tuned classifier (encoder and linear layer)",
            part=f"{BACKBONE} and {LINEAR}",
            left_out_tensors=found.left_out_tensors,
            left_out_entries=tuple(str(name) for name in content if name not in (BACKBONE, LINEAR)),
        )

    def shapes(self, config: ModelConfig) -> dict[str, Shape]:
        """Return the shapes of encoder and head."""
        head, width = config.head, config.encoder.embed_dim
        assert isinstance(head, ClassificationHeadConfig)
        shapes = {f"backbone.{name}": shape for name, shape in encoder_shapes(config.encoder).items()}
        if head.pooling == "attentive":
            shapes |= {
                "head.pool.query": (1, 1, width),
                "head.pool.norm.weight": (width,),
                "head.pool.norm.bias": (width,),
                "head.pool.key_value.weight": (2 * width, width),
                "head.pool.key_value.bias": (2 * width,),
                "head.pool.proj.weight": (width, width),
                "head.pool.proj.bias": (width,),
            }
        return {**shapes, "head.linear.weight": (head.num_classes, width), "head.linear.bias": (head.num_classes,)}

    def facts(self, config: ModelConfig) -> dict[str, str]:
        """Return labels, thresholds, and whether several labels may hold at once."""
        head = config.head
        assert isinstance(head, ClassificationHeadConfig)
        thresholds = ", ".join(f"{t:g}" for t in head.thresholds)
        usual = "0.5 each" if head.multi_label else "none: the most probable label is predicted"
        return {
            **super().facts(config),
            "kind": "multi-label (each holds or not)" if head.multi_label else "single-label (exactly one holds)",
            "thresholds": thresholds or usual,
            "pooling": {"cls": "class token", "attentive": "attentive probe on the patch tokens"}[head.pooling],
        }

    def usage(self, config: ModelConfig) -> str:
        """Return how to classify a video."""
        return (
            'result = model.predict("procedure.mp4")\n'
            "result.labels, result.video_probabilities  # of the whole video\n"
            "result.start_seconds, result.probabilities  # clip by clip"
        )

    def output(self, config: ModelConfig) -> str:
        """Return what the classifier gives."""
        assert config.head is not None
        return f"a probability for each of {config.head.num_classes} classes"


def _labels(weight: Tensor, options: ReadOptions) -> tuple[str, ...]:
    if weight.ndim != 2 or len(weight) < 2:
        raise CheckpointFormatError(f"{options.where}: the linear layer has the shape {tuple(weight.shape)}")
    if options.labels is None:
        return tuple(f"class {number}" for number in range(len(weight)))
    if len(options.labels) != len(weight):
        raise InputError(
            f"{options.where}: the classifier has {len(weight)} classes, but {len(options.labels)} labels are given "
            f"({', '.join(options.labels)})"
        )
    return tuple(options.labels)
