"""Checkpoint layout and card text of video classifiers: the published fine-tuned files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from endofm.config import BaseEncoderConfig, ModelConfig, PreprocessConfig
from endofm.errors import CheckpointFormatError
from endofm.hub.task_layout import PublishedModel, ReadOptions, TaskLayout
from endofm.tasks.classification.config import ClassificationHeadConfig

if TYPE_CHECKING:
    from torch import Tensor

BACKBONE, LINEAR = "backbone_state_dict", "state_dict"
"""Entries of a published fine-tuned file: the encoder, and the linear layer on it."""

_RENAMED = {"linear.weight": "head.linear.weight", "linear.bias": "head.linear.bias"}
"""Names of the published classifier's tensors, without their wrapper, and the names of this package."""


def published_preprocess(encoder: BaseEncoderConfig) -> PreprocessConfig:
    """Return the preprocessing of the published evaluation of classifiers.

    Source: ``eval_finetune.py`` and ``datasets/ucf101.py`` of med-air/Endo-FM, commit 206427e. Mean and standard
    deviation differ from pre-training; the shorter side is resized to the crop's, the left or top crop is used, and the
    8 frames span 256 frames at 30 per second.
    """
    size = encoder.img_size
    return PreprocessConfig(
        num_frames=encoder.num_frames,
        # Every 32nd frame of a recording at 30 frames per second.
        window_seconds=32 * encoder.num_frames / 30,
        short_side=size,
        crop_size=size,
        crop="published",
        mean=(0.45, 0.45, 0.45),
        std=(0.225, 0.225, 0.225),
    )


class ClassificationTaskLayout(TaskLayout):
    """Clip to a probability per class."""

    name = ClassificationHeadConfig.task
    pipeline_tag = "video-classification"
    title = "Endoscopy video classifier"
    intended_use = "research on the classification of endoscopy video"

    def matches(self, content: Mapping[str, Any]) -> bool:
        """Return whether both entries exist and the second holds the linear layer."""
        from endofm.hub.tensor_file import unwrapped_name

        linear = content.get(LINEAR)
        if not isinstance(linear, Mapping) or not isinstance(content.get(BACKBONE), Mapping):
            return False
        return {unwrapped_name(str(name)) for name in linear} == set(_RENAMED)

    def read(self, content: Mapping[str, Any], options: ReadOptions) -> PublishedModel:
        """Return encoder and linear layer of a fine-tuned file."""
        from endofm.hub.encoder_layout import read_encoder
        from endofm.hub.encoder_tensors import plain_tensors
        from endofm.hub.tensor_file import require_finite, unwrapped_name

        source, registered = options.source, options.registered
        options.refuse_part("a fine-tuned file")
        if not self.matches(content):
            raise CheckpointFormatError(
                f"{source}: a published classifier has the entries {BACKBONE} and {LINEAR} (the linear layer); this "
                "file does not"
            )
        # This entry alone, so that the linear layer's is not reported as left out.
        selected = read_encoder({BACKBONE: content[BACKBONE]}, options)
        linear = plain_tensors(content[LINEAR], source)
        tensors: dict[str, Tensor] = {f"backbone.{name}": tensor for name, tensor in selected.tensors.items()}
        tensors |= {_RENAMED[unwrapped_name(name)]: tensor for name, tensor in linear.items()}
        require_finite(tensors, source)
        encoder = selected.encoder
        if registered is not None:
            head = registered.head
        else:
            head = ClassificationHeadConfig(labels=_labels(tensors["head.linear.weight"], options))
        return PublishedModel(
            tensors=tensors,
            encoder=encoder,
            preprocess=published_preprocess(encoder),
            head=head,
            layout="fine-tuned classifier (encoder and linear layer)",
            part=f"{BACKBONE} and {LINEAR}",
            left_out_tensors=selected.left_out_tensors,
            left_out_entries=tuple(str(name) for name in content if name not in (BACKBONE, LINEAR)),
        )

    def facts(self, config: ModelConfig) -> dict[str, str]:
        """Return labels, thresholds, pooling, and whether the labels exclude one another."""
        head = config.head
        assert isinstance(head, ClassificationHeadConfig)
        thresholds = ", ".join(f"{t:g}" for t in head.thresholds)
        usual = "0.5 each" if head.multi_label else "none: the most probable label is predicted"
        return {
            **super().facts(config),
            "kind": "multi-label (independent probabilities)"
            if head.multi_label
            else "single-label (exactly one class)",
            "thresholds": thresholds or usual,
            "pooling": {"cls": "class token", "attentive": "attentive probe on the patch tokens"}[head.pooling],
        }

    def usage(self, config: ModelConfig) -> str:
        """Return the lines that classify a video."""
        return (
            'result = model.predict("procedure.mp4")\n'
            "result.labels, result.video_probabilities  # of the complete video\n"
            "result.start_seconds, result.probabilities  # clip by clip"
        )

    def output(self, config: ModelConfig) -> str:
        """Return the classifier's output."""
        assert config.head is not None
        return f"a probability for each of {config.head.num_classes} classes"


def _labels(weight: Tensor, options: ReadOptions) -> tuple[str, ...]:
    if weight.ndim != 2 or len(weight) < 2:
        raise CheckpointFormatError(f"{options.source}: the linear layer has the shape {tuple(weight.shape)}")
    return options.labels_or((f"class {index}" for index in range(len(weight))), "classifier")
