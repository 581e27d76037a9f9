"""Checkpoint layout and card text of detectors: the published ``kumc.pth`` and the names of its tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from endofm.config import ModelConfig, PreprocessConfig
from endofm.errors import CheckpointFormatError, quoted
from endofm.hub.task_layout import PublishedModel, ReadOptions, TaskLayout, rename
from endofm.tasks.detection.config import DetectionHeadConfig

if TYPE_CHECKING:
    from torch import Tensor

_T = TypeVar("_T")

KUMC_LABELS = ("adenomatous", "hyperplastic")
"""Classes of the KUMC set, in the order of the published detector's outputs."""

PUBLISHED_TO_OURS: tuple[tuple[str, str], ...] = (
    ("backbone.body.fpn2.0.", "head.pyramid.up."),
    ("backbone.body.", "backbone."),
    ("backbone.fpn.fpn_inner2.", "head.pyramid.fpn.inner_blocks.0.0."),
    ("backbone.fpn.fpn_inner3.", "head.pyramid.fpn.inner_blocks.1.0."),
    ("backbone.fpn.fpn_inner4.", "head.pyramid.fpn.inner_blocks.2.0."),
    ("backbone.fpn.fpn_layer2.", "head.pyramid.fpn.layer_blocks.0.0."),
    ("backbone.fpn.fpn_layer3.", "head.pyramid.fpn.layer_blocks.1.0."),
    ("backbone.fpn.fpn_layer4.", "head.pyramid.fpn.layer_blocks.2.0."),
    ("backbone.fpn.top_blocks.", "head.pyramid.fpn.extra_blocks."),
    ("rpn.head.dcn_cls_subnet.", "head.refinement.cls_align."),
    ("rpn.head.dcn_bbox_subnet.", "head.refinement.box_align."),
    ("rpn.head.dcn_cls_score.", "head.refinement.cls_logits."),
    ("rpn.head.dcn_bbox_pred.", "head.refinement.box_deltas."),
    ("rpn.head.", "head.first."),
)
"""Prefixes of tensor names in the published file, and in this package; the first that fits is used."""

UNUSED = "backbone.body.fpn1."
"""Prefix of a pyramid level that the published code saves and never runs."""


def published_head(labels: tuple[str, ...] = KUMC_LABELS, *, channels: int = 256) -> DetectionHeadConfig:
    """Return the head configuration of the published evaluation (the preset ``kumc``).

    Supports are drawn at random as published, but from a seed, and the queue of frames is cleared between videos.
    """
    return DetectionHeadConfig(
        labels=labels, channels=channels, supports="random", nms_across_classes=False, last_pixel_inside=True
    )


def published_preprocess() -> PreprocessConfig:
    """Return the published preprocessing: frames squashed to 640 x 640, BGR, values of 0 to 255 minus a mean."""
    return PreprocessConfig.whole_frame(
        640,
        num_frames=1,
        antialias=True,
        channels="bgr",
        # The published code subtracts a mean from values of 0 to 255 and divides by 1; here frames are scaled first.
        mean=(122.7717 / 255, 115.9465 / 255, 102.9801 / 255),
        std=(1 / 255, 1 / 255, 1 / 255),
    )


class DetectionTaskLayout(TaskLayout):
    """Video to boxes per frame."""

    name = DetectionHeadConfig.task
    pipeline_tag = "object-detection"
    title = "Endoscopy video detector"
    intended_use = "research on the detection of lesions in endoscopy video"

    def matches(self, content: Mapping[str, Any]) -> bool:
        """Return whether the tensors are those of the published detector."""
        from endofm.hub.state_dicts import holds_state_dict

        return holds_state_dict(content, _is_published)

    def read(self, content: Mapping[str, Any], options: ReadOptions) -> PublishedModel:
        """Return the detector of a published file; only the level that it never runs is left out."""
        from endofm.hub.encoder_tensors import infer_encoder_config, plain_tensors
        from endofm.hub.state_dicts import select_state_dict
        from endofm.hub.tensor_file import require_finite

        source, registered = options.source, options.registered
        found = select_state_dict(content, _is_published, kind="a detector", part=options.part, source=source)
        if found is None:
            raise CheckpointFormatError(
                f"{source}: a published detector has tensors named rpn.head.* and backbone.body.*, in an entry or "
                "alone; this file does not"
            )
        renamed, unused = from_published(found.tensors)
        tensors = plain_tensors(renamed, source)
        require_finite(tensors, source)
        # A registered file has the architecture of its record; inferring it would have to guess the number of heads.
        if registered is not None:
            encoder, head = registered.encoder, registered.head
        else:
            backbone = {n.removeprefix("backbone."): t for n, t in tensors.items() if n.startswith("backbone.")}
            encoder = infer_encoder_config(backbone, num_heads=options.num_heads, source=source)
            head = _infer_head(tensors, options)
        return PublishedModel(
            tensors=tensors,
            encoder=encoder,
            preprocess=published_preprocess(),
            head=head,
            layout="fine-tuned detector (encoder, pyramid and head)",
            part=found.entry,
            left_out_tensors=unused,
            left_out_entries=found.others,
        )

    def facts(self, config: ModelConfig) -> dict[str, str]:
        """Return labels, size of frames, and the other frames that a frame is refined with."""
        head = config.head
        assert isinstance(head, DetectionHeadConfig)
        count = "all" if head.supports == "all" else f"{head.num_supports} ({head.supports})"
        return {
            **super().facts(config),
            "supports": f"{count} of the {head.support_reach} frames before and after",
            "frame size": f"{config.preprocess.crop_size} pixels, {config.preprocess.crop}",
        }

    def usage(self, config: ModelConfig) -> str:
        """Return the lines that detect objects in a video."""
        return (
            'detections = model.predict("procedure.mp4")\n'
            "detections[0].boxes, detections[0].scores, detections[0].labels  # first frame; boxes in its pixels\n"
            'detections.save("boxes.json")'
        )

    def output(self, config: ModelConfig) -> str:
        """Return the detector's output."""
        assert config.head is not None
        return f"boxes of {config.head.num_classes} classes with scores, for every frame of a video"


def from_published(tensors: Mapping[str, _T]) -> tuple[dict[str, _T], tuple[str, ...]]:
    """Rename the published detector's tensors.

    Args:
        tensors: By their names in the file, with or without the prefixes of wrappers.

    Returns:
        The tensors by the names of this package, and the names of those that the published code never runs.
    """
    from endofm.hub.tensor_file import unwrapped_name

    unused = tuple(name for name in tensors if unwrapped_name(name).startswith(UNUSED))
    renamed = {
        rename(unwrapped_name(name), PUBLISHED_TO_OURS): value for name, value in tensors.items() if name not in unused
    }
    return renamed, unused


def _is_published(names: set[str]) -> bool:
    return "rpn.head.cls_logits.weight" in names and "backbone.body.cls_token" in names


def _infer_head(tensors: Mapping[str, Tensor], options: ReadOptions) -> DetectionHeadConfig:
    name = "head.first.cls_logits.weight"
    if name not in tensors or tensors[name].ndim != 4:
        raise CheckpointFormatError(f"{options.source}: the detector has no convolution {quoted(name)}")
    classes, channels = tensors[name].shape[:2]
    default = KUMC_LABELS if classes == len(KUMC_LABELS) else [f"class {index}" for index in range(1, classes + 1)]
    return published_head(options.labels_or(default, "detector"), channels=channels)
