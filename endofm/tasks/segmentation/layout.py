"""Mask models: the original's ``cvc.pth``, and the tensors of our own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from endofm.config import EncoderConfig, ModelConfig, PreprocessConfig
from endofm.errors import CheckpointFormatError, ConfigError, InputError
from endofm.hub.infer import HEAD_WIDTH
from endofm.hub.layout import FoundModel, HubTask, ReadOptions
from endofm.tasks.segmentation.config import SegmentationHeadConfig
from endofm.tasks.segmentation.published_keys import from_published, is_published_segmentation

if TYPE_CHECKING:
    from torch import Tensor

_ENTRIES = ("state_dict", "model")
"""Entries that a file may hold the tensors in; the original writes them bare."""

_WRAPPER = "module."


def published_preprocess(size: int = 224) -> PreprocessConfig:
    """Return the preprocessing of the original's mask models.

    Source: ``TransUNet/datasets/dataset_CVC_video.py`` of med-air/Endo-FM, commit 206427e, test mode: blue first,
    values of every frame stretched twice, the whole frame resized by Pillow, values from -1 to 1. The original takes
    clips of 6 to 25 frames whole; 12 is our choice, for whatever length.
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


class SegmentationTask(HubTask):
    """A clip in, a mask per frame out."""

    name = SegmentationHeadConfig.task
    pipeline_tag = "image-segmentation"
    title = "Endoscopy video segmentation"
    intended_use = "research on the segmentation of endoscopy video"

    def matches(self, content: Mapping[str, Any]) -> bool:
        """Say whether the tensors have the names of the original's mask model."""
        return is_published_segmentation(_unwrapped(_entries(content)[1]))

    def read(self, content: Mapping[str, Any], options: ReadOptions) -> FoundModel:
        """Return the mask model of a fine-tuned file."""
        from endofm.hub.checkpoint import plain_tensors
        from endofm.hub.encoder_tensors import require_finite

        where = options.where
        if options.part is not None:
            raise InputError(f"{where}: a fine-tuned file has no part {options.part!r}")
        if not self.matches(content):
            raise CheckpointFormatError(
                f"{where}: a mask model of the original code has tensors such as "
                f"transformer.embeddings.position_embeddings and segmentation_head.0.weight; this file has not"
            )
        part, entries = _entries(content)
        published = plain_tensors(_unwrapped(entries), where, integers=True)
        tensors = from_published(published)
        require_finite(tensors, where)
        encoder, head = _architecture(tensors, options)
        return FoundModel(
            tensors=tensors,
            encoder=encoder,
            preprocess=published_preprocess(encoder.img_size),
            head=head,
            layout="fine-tuned mask model (stem, encoder blocks, decoder)",
            part=part,
            left_out_tensors=(),
            left_out_entries=tuple(str(name) for name in content if part and name != part),
        )

    def facts(self, config: ModelConfig) -> dict[str, str]:
        """Return labels and network."""
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
        """Return how to segment a video."""
        return (
            'masks = model.predict("procedure.mp4")\n'
            "masks[0].labels, masks[0].pts_seconds  # class of every pixel of the first frame, and its time\n"
            'masks.save("masks.json")  # COCO run-length masks; or a folder of indexed PNG files\n'
            'masks.paint("procedure.mp4", "overlay.mp4")'
        )

    def output(self, config: ModelConfig) -> str:
        """Return what the mask model gives."""
        assert config.head is not None
        return f"a mask of {config.head.num_classes} classes (the first is the background) for each frame"


def _entries(content: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """Return the entry that holds the tensors (empty for a bare state dict) and the tensors."""
    for name in _ENTRIES:
        if isinstance(content.get(name), Mapping):
            return name, content[name]
    return "", content


def _unwrapped(entries: Mapping[str, Any]) -> dict[str, Any]:
    return {str(name).removeprefix(_WRAPPER): value for name, value in entries.items()}


def _architecture(tensors: Mapping[str, Tensor], options: ReadOptions) -> tuple[EncoderConfig, SegmentationHeadConfig]:
    """Read the architecture off the tensors; what does not fit it is found when the network is built."""
    where, known = options.where, options.known
    if known is not None and isinstance(known.head, SegmentationHeadConfig):
        return known.encoder, known.head

    def size(name: str, axis: int) -> int:
        if name not in tensors or tensors[name].ndim <= axis:
            raise CheckpointFormatError(f"{where}: the tensor {name!r} (by our names) is missing or has another form")
        return int(tensors[name].shape[axis])

    def count(pattern: str) -> int:
        numbers = [int(match[1]) for name in tensors if (match := re.match(pattern, name))]
        return max(numbers, default=-1)

    width, rows = size("head.pos_embed", 2), size("head.pos_embed", 1)
    grid = round(rows**0.5)
    if grid * grid != rows:
        raise CheckpointFormatError(f"{where}: the position table has {rows} rows, which is not a square grid")
    heads = options.num_heads or width // HEAD_WIDTH
    if options.num_heads is None and width % HEAD_WIDTH:
        raise ConfigError(
            f"{where}: the number of attention heads cannot be read off the tensors, and the width {width} is not a "
            f"multiple of {HEAD_WIDTH}; say how many there are (num_heads, or --num-heads)"
        )
    encoder = EncoderConfig(
        img_size=16 * grid,
        embed_dim=width,
        depth=1 + count(r"backbone\.blocks\.(\d+)\."),
        num_heads=heads,
        in_chans=size("head.stem.root.conv.weight", 1),
        mlp_ratio=size("backbone.blocks.0.mlp.fc1.weight", 0) / width,
        qkv_bias="backbone.blocks.0.attn.qkv.bias" in tensors,
    )
    classes = size("head.classifier.weight", 0)
    labels = tuple(options.labels) if options.labels is not None else _labels(classes)
    if len(labels) != classes:
        raise InputError(f"{where}: {len(labels)} labels were given for a mask model of {classes} classes")
    stages = [f"head.decoder.blocks.{i}.conv1.0.weight" for i in range(4)]
    head = SegmentationHeadConfig(
        labels=labels,
        stem_width=size("head.stem.root.conv.weight", 0),
        stem_units=tuple(count(rf"head\.stem\.block{stage}\.unit(\d+)\.") for stage in (1, 2, 3)),
        decoder_widths=tuple(size(name, 0) for name in ("head.decoder.conv_more.0.weight", *stages)),
    )
    return encoder, head


def _labels(classes: int) -> tuple[str, ...]:
    """Return the labels of the published model, or numbered ones."""
    if classes == 2:
        return ("background", "polyp")
    return ("background", *(f"class {number}" for number in range(1, classes)))
