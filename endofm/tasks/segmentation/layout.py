"""Checkpoint layout and card text of segmentation models: the published ``cvc.pth`` and the names of its tensors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from endofm.config import EncoderConfig, ModelConfig, PreprocessConfig
from endofm.errors import CheckpointFormatError, quoted
from endofm.hub.task_layout import PublishedModel, ReadOptions, TaskLayout, rename
from endofm.tasks.segmentation.config import SegmentationHeadConfig

if TYPE_CHECKING:
    from torch import Tensor

_T = TypeVar("_T")

PUBLISHED_TO_OURS: tuple[tuple[str, str], ...] = (
    ("transformer.embeddings.position_embeddings", "head.pos_embed"),
    ("transformer.embeddings.hybrid_model.root.", "head.stem.root."),
    ("transformer.embeddings.hybrid_model.body.", "head.stem."),
    ("transformer.embeddings.patch_embeddings.", "head.patch_embed."),
    ("transformer.encoder.cls_token", "backbone.cls_token"),
    ("transformer.encoder.layer.", "backbone.blocks."),
    ("transformer.encoder.encoder_norm.", "backbone.norm."),
    ("decoder.", "head.decoder."),
    ("segmentation_head.0.", "head.classifier."),
)
"""Names of tensors, or their prefixes, in the published file and in this package."""


def published_preprocess(size: int = 224) -> PreprocessConfig:
    """Return the preprocessing of the published segmentation models.

    Source: ``TransUNet/datasets/dataset_CVC_video.py`` of med-air/Endo-FM, commit 206427e, test mode: BGR, the values
    of every frame stretched twice, the full frame resized by Pillow, values from -1 to 1. The published code runs
    complete clips of 6 to 25 frames; windows of 12 frames are the choice of this package, for videos of any length.
    """
    return PreprocessConfig.whole_frame(
        size,
        num_frames=12,
        window_seconds=12 / 25,
        antialias=True,
        values="frame",
        channels="bgr",
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
    )


class SegmentationTaskLayout(TaskLayout):
    """Clip to a mask per frame."""

    name = SegmentationHeadConfig.task
    pipeline_tag = "image-segmentation"
    title = "Endoscopy video segmentation"
    intended_use = "research on the segmentation of endoscopy video"

    def matches(self, content: Mapping[str, Any]) -> bool:
        """Return whether the tensors have the names of the published segmentation model."""
        from endofm.hub.state_dicts import holds_state_dict

        return holds_state_dict(content, _is_published)

    def read(self, content: Mapping[str, Any], options: ReadOptions) -> PublishedModel:
        """Return the segmentation model of a fine-tuned file."""
        from endofm.hub.encoder_tensors import plain_tensors
        from endofm.hub.state_dicts import select_state_dict
        from endofm.hub.tensor_file import require_finite, unwrapped

        source = options.source
        kind = "a segmentation model"
        found = select_state_dict(content, _is_published, kind=kind, part=options.part, source=source)
        if found is None:
            raise CheckpointFormatError(
                f"{source}: a published segmentation model has tensors such as "
                "transformer.embeddings.position_embeddings and segmentation_head.0.weight; this file does not"
            )
        # Batch norms in the stem and the decoder count their batches in int64.
        tensors = from_published(plain_tensors(unwrapped(found.tensors, source), source, integers=True))
        require_finite(tensors, source)
        encoder, head = _architecture(tensors, options)
        return PublishedModel(
            tensors=tensors,
            encoder=encoder,
            preprocess=published_preprocess(encoder.img_size),
            head=head,
            layout="fine-tuned segmentation model (stem, encoder blocks, decoder)",
            part=found.entry,
            left_out_tensors=(),
            left_out_entries=found.others,
        )

    def facts(self, config: ModelConfig) -> dict[str, str]:
        """Return labels, network and the order of colour channels."""
        head = config.head
        assert isinstance(head, SegmentationHeadConfig)
        return {
            **super().facts(config),
            "network": {
                "hybrid": "hybrid (convolutional stem, encoder blocks, decoder with skips)",
                "light": "light decoder on the encoder's patch tokens",
            }[head.network],
            "channels": {"rgb": "red, green, blue", "bgr": "blue, green, red (as published)"}[
                config.preprocess.channels
            ],
        }

    def usage(self, config: ModelConfig) -> str:
        """Return the lines that segment a video."""
        return (
            'masks = model.predict("procedure.mp4")\n'
            "masks[0].labels, masks[0].pts_seconds  # class of every pixel of the first frame, and its time\n"
            'masks.save("masks.json")  # COCO run-length masks; or a folder of indexed PNG files\n'
            'masks.paint("procedure.mp4", "overlay.mp4")'
        )

    def output(self, config: ModelConfig) -> str:
        """Return the segmentation model's output."""
        assert config.head is not None
        return f"a mask of {config.head.num_classes} classes (the first is the background) for each frame"


def from_published(tensors: Mapping[str, _T]) -> dict[str, _T]:
    """Rename the published model's tensors, without the prefix of their wrapper, to the names of this package."""
    return {rename(name, PUBLISHED_TO_OURS): value for name, value in tensors.items()}


def _is_published(names: set[str]) -> bool:
    return "transformer.embeddings.position_embeddings" in names and "segmentation_head.0.weight" in names


def _architecture(tensors: Mapping[str, Tensor], options: ReadOptions) -> tuple[EncoderConfig, SegmentationHeadConfig]:
    """Infer the architecture from the shapes; tensors that do not fit it are reported when the network is built."""
    from endofm.hub.encoder_tensors import infer_num_heads, square_grid

    source, registered = options.source, options.registered
    if registered is not None and isinstance(registered.head, SegmentationHeadConfig):
        return registered.transformer, registered.head

    def size(name: str, axis: int) -> int:
        if name not in tensors or tensors[name].ndim <= axis:
            raise CheckpointFormatError(
                f"{source}: the tensor {quoted(name)} (name of this package) is missing or has another rank"
            )
        return int(tensors[name].shape[axis])

    def last_index(pattern: str) -> int:
        indices = [int(match[1]) for name in tensors if (match := re.match(pattern, name))]
        return max(indices, default=-1)

    width = size("head.pos_embed", 2)
    encoder = EncoderConfig(
        # The stem reduces frames by 16, and every position of its map is one token. There is no class token's row.
        img_size=16 * square_grid(size("head.pos_embed", 1), source),
        embed_dim=width,
        depth=1 + last_index(r"backbone\.blocks\.(\d+)\."),
        num_heads=options.num_heads or infer_num_heads(width, source),
        in_chans=size("head.stem.root.conv.weight", 1),
        mlp_ratio=size("backbone.blocks.0.mlp.fc1.weight", 0) / width,
        qkv_bias="backbone.blocks.0.attn.qkv.bias" in tensors,
    )
    classes = size("head.classifier.weight", 0)
    # The published model has two classes; others are numbered after the background.
    default = ("background", "polyp") if classes == 2 else ["background", *(f"class {i}" for i in range(1, classes))]
    stages = [f"head.decoder.blocks.{i}.conv1.0.weight" for i in range(4)]
    head = SegmentationHeadConfig(
        labels=options.labels_or(default, "segmentation model"),
        stem_width=size("head.stem.root.conv.weight", 0),
        # Units are numbered from 1, so the last number is their count.
        stem_units=tuple(last_index(rf"head\.stem\.block{stage}\.unit(\d+)\.") for stage in (1, 2, 3)),
        decoder_widths=tuple(size(name, 0) for name in ("head.decoder.conv_more.0.weight", *stages)),
    )
    return encoder, head
