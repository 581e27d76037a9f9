"""Detectors: the original's ``kumc.pth``, and the tensors of our own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from endofm.config import ModelConfig, PreprocessConfig
from endofm.errors import CheckpointFormatError, InputError
from endofm.hub.layout import FoundModel, HubTask, ReadOptions
from endofm.hub.state_dict import Shape, encoder_shapes
from endofm.tasks.detection.config import DetectionHeadConfig

if TYPE_CHECKING:
    from torch import Tensor

KUMC_LABELS = ("adenomatous", "hyperplastic")
"""Classes of the KUMC set, in the order of the published detector's outputs."""

_ENTRIES = ("model", "state_dict")
"""Entries that may hold the tensors; a bare state dict is taken as well."""

_LEVELS = 5


def published_head(labels: tuple[str, ...] = KUMC_LABELS, *, channels: int = 256) -> DetectionHeadConfig:
    """Return how the original runs its detector (the preset ``kumc``).

    Supports are drawn as there, but from a seed, and a new queue begins with every video.
    """
    return DetectionHeadConfig(
        labels=labels, channels=channels, supports="random", nms_across_classes=False, last_pixel_inside=True
    )


def published_preprocess() -> PreprocessConfig:
    """Return the original's preprocessing: the frame squashed to 640 x 640, blue first, 0 to 255 less a mean."""
    return PreprocessConfig.whole_frame(
        640,
        num_frames=1,
        antialias=True,
        channels="bgr",
        mean=(122.7717 / 255, 115.9465 / 255, 102.9801 / 255),
        std=(1 / 255, 1 / 255, 1 / 255),
    )


class DetectionTask(HubTask):
    """A video in, boxes per frame out."""

    name = DetectionHeadConfig.task
    pipeline_tag = "object-detection"
    title = "Endoscopy video detector"
    intended_use = "research on the detection of lesions in endoscopy video"

    def matches(self, content: Mapping[str, Any]) -> bool:
        """Say whether the tensors of the detector are there."""
        from endofm.tasks.detection.published_keys import is_published_detector

        return is_published_detector(_tensors(content)[1])

    def read(self, content: Mapping[str, Any], options: ReadOptions) -> FoundModel:
        """Return the detector of a file of the original code; only its unused level is left out."""
        from endofm.hub.checkpoint import plain_tensors
        from endofm.hub.encoder_tensors import read_encoder_config, require_finite
        from endofm.tasks.detection.published_keys import from_published, is_published_detector

        where = options.where
        if options.part is not None:
            raise InputError(f"{where}: a detector's file has no part {options.part!r}")
        entry, entries = _tensors(content)
        if not is_published_detector(entries):
            raise CheckpointFormatError(
                f"{where}: a detector of the original code has tensors named rpn.head.* and backbone.body.*, in an "
                "entry 'model' or alone; this file has not"
            )
        renamed, unused = from_published(entries)
        tensors = plain_tensors(renamed, where)
        own = {name.removeprefix("backbone."): t for name, t in tensors.items() if name.startswith("backbone.")}
        known = options.known
        encoder = read_encoder_config(
            own, num_heads=options.num_heads, where=where, known=known.encoder if known else None
        )
        require_finite(tensors, where)
        if known is not None and isinstance(known.head, DetectionHeadConfig):
            head = known.head
        else:
            classes, channels = _shape(tensors, "head.first.cls_logits.weight", where)[:2]
            head = published_head(_labels(classes, options), channels=channels)
        preprocess = published_preprocess()
        self.check(ModelConfig(encoder=encoder, preprocess=preprocess, head=head), tensors, where=where)
        return FoundModel(
            tensors=tensors,
            encoder=encoder,
            preprocess=preprocess,
            head=head,
            layout="fine-tuned detector (encoder, pyramid and head)",
            part=entry,
            left_out_tensors=unused,
            left_out_entries=tuple(str(name) for name in content if entry and name != entry),
        )

    def shapes(self, config: ModelConfig) -> dict[str, Shape]:
        """Return the shapes of encoder and head."""
        head = config.head
        assert isinstance(head, DetectionHeadConfig)
        shapes = {f"backbone.{name}": shape for name, shape in encoder_shapes(config.encoder).items()}
        return shapes | _head_shapes(head, config.encoder.embed_dim)

    def facts(self, config: ModelConfig) -> dict[str, str]:
        """Return labels, and which other frames a frame is refined with."""
        head = config.head
        assert isinstance(head, DetectionHeadConfig)
        count = "all" if head.supports == "all" else f"{head.num_supports} ({head.supports})"
        return {
            **super().facts(config),
            "supports": f"{count} of the {head.support_reach} frames before and behind",
            "frame size": f"{config.preprocess.crop_size} pixels, {config.preprocess.crop}",
        }

    def usage(self, config: ModelConfig) -> str:
        """Return how to find objects in a video."""
        return (
            'found = model.predict("procedure.mp4")\n'
            "found[0].boxes, found[0].scores, found[0].labels  # of the first frame, in its own pixels\n"
            'found.save("boxes.json")'
        )

    def output(self, config: ModelConfig) -> str:
        """Return what the detector gives."""
        assert config.head is not None
        return f"boxes of {config.head.num_classes} classes with scores, for every frame of a video"


def _tensors(content: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """Return the name of the entry that holds the tensors (empty: the file itself) and what is in it."""
    for name in _ENTRIES:
        entry = content.get(name)
        if isinstance(entry, Mapping) and all(isinstance(key, str) for key in entry):
            return name, entry
    return "", {name: value for name, value in content.items() if isinstance(name, str)}


def _shape(tensors: Mapping[str, Tensor], name: str, where: str) -> Shape:
    if name not in tensors or tensors[name].ndim != 4:
        raise CheckpointFormatError(f"{where}: the detector has no convolution {name!r}")
    return tuple(tensors[name].shape)


def _labels(classes: int, options: ReadOptions) -> tuple[str, ...]:
    if options.labels is None:
        return KUMC_LABELS if classes == len(KUMC_LABELS) else tuple(f"class {i + 1}" for i in range(classes))
    if len(options.labels) != classes:
        raise InputError(
            f"{options.where}: the detector has {classes} classes, but {len(options.labels)} labels are given "
            f"({', '.join(options.labels)})"
        )
    return tuple(options.labels)


def _head_shapes(head: DetectionHeadConfig, embed_dim: int) -> dict[str, Shape]:
    """Return the shapes of everything after the encoder, in the order of the network."""
    width, classes = head.channels, head.num_classes
    shapes: dict[str, Shape] = {}

    def convolution(name: str, shape: Shape, bias: int) -> None:
        shapes[f"head.{name}.weight"] = shape
        if bias:
            shapes[f"head.{name}.bias"] = (bias,)

    convolution("pyramid.up", (embed_dim, embed_dim, 2, 2), embed_dim)
    for i in range(3):
        convolution(f"pyramid.fpn.inner_blocks.{i}.0", (width, embed_dim, 1, 1), width)
    for i in range(3):
        convolution(f"pyramid.fpn.layer_blocks.{i}.0", (width, width, 3, 3), width)
    for name in ("p6", "p7"):
        convolution(f"pyramid.fpn.extra_blocks.{name}", (width, width, 3, 3), width)
    for tower in ("cls_tower", "bbox_tower"):
        for i in range(head.tower_depth):
            convolution(f"first.{tower}.{3 * i}", (width, width, 3, 3), width)
            convolution(f"first.{tower}.{3 * i + 1}", (width,), width)
    for name, outputs in (("cls_logits", classes), ("bbox_pred", 4), ("centerness", 1)):
        convolution(f"first.{name}", (outputs, width, 3, 3), outputs)
    for i in range(_LEVELS):
        shapes[f"head.first.scales.{i}.scale"] = (1,)
    for name in ("cls_align", "box_align"):
        convolution(f"refinement.{name}.conv_offset", (head.offset_groups * 18, 4, 1, 1), 0)
        convolution(f"refinement.{name}.conv_adaption", (width, width, 3, 3), 0)
    convolution("refinement.cls_logits", (classes, width, 3, 3), classes)
    convolution("refinement.box_deltas", (4, width, 3, 3), 4)
    return shapes
