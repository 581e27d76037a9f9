"""Head configuration of a detector of objects in video frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from endofm.config.checks import LARGEST_COUNT, LARGEST_SIZE, require_bool, require_choice, require_int, require_number
from endofm.config.model_config import HeadConfig
from endofm.errors import ConfigError

DetectionSupports = Literal["spread", "all", "random"]


@dataclass(frozen=True, kw_only=True)
class DetectionHeadConfig(HeadConfig):
    """Head of :class:`~endofm.tasks.detection.model.EndoFMForDetection`.

    Attributes:
        labels: Names of the classes of objects, without background.
        channels: Width of the pyramid and the towers.
        tower_depth: Convolutions in each tower.
        norm_groups: Groups of the towers' group normalisation; must divide ``channels``.
        offset_groups: Groups of channels that share their offsets in the alignment; must divide ``channels``.
        clip_frames: Number of successive frames that the encoder processes together. With 1, as in the published
            evaluation, frames are processed one by one.
        supports: Selection of the other frames that refine a frame; see
            :class:`~endofm.tasks.detection.supports.SupportPlan`.
        num_supports: Number of these frames.
        support_reach: Largest distance of these frames, in frames.
        min_score: Smallest score of a box that is reported, unless the caller names another.
        score_threshold: Minimum first-stage score of a candidate.
        candidates: Maximum number of candidates per level before non-maximum suppression.
        nms_iou: Intersection over union above which the lower-scoring of two boxes is suppressed.
        nms_across_classes: Let boxes of different classes suppress one another, so that an object has one box.
        max_boxes: Maximum number of boxes per frame.
        last_pixel_inside: Clip boxes to the index of the last pixel (width - 1), as published, instead of its outer
            edge (width).
    """

    task: ClassVar[str] = "detection"

    channels: int = 256
    tower_depth: int = 4
    norm_groups: int = 32
    offset_groups: int = 4
    clip_frames: int = 1
    supports: DetectionSupports = "spread"
    num_supports: int = 10
    support_reach: int = 9
    min_score: float = 0.5
    score_threshold: float = 0.05
    candidates: int = 1000
    nms_iou: float = 0.6
    nms_across_classes: bool = True
    max_boxes: int = 300
    last_pixel_inside: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        sizes = ("channels", "norm_groups", "offset_groups", "clip_frames", "support_reach")
        require_int(self, *sizes, "candidates", "max_boxes", high=LARGEST_SIZE)
        require_int(self, "tower_depth", high=LARGEST_COUNT)
        require_choice(self, "supports", get_args(DetectionSupports))
        require_bool(self, "nms_across_classes", "last_pixel_inside")
        require_int(self, "num_supports", low=0, high=LARGEST_SIZE)
        require_number(self, "min_score", "score_threshold", "nms_iou", low=0, high=1)
        # Both split the channels into groups of equal size.
        for name in ("norm_groups", "offset_groups"):
            if self.channels % getattr(self, name):
                raise ConfigError(
                    f"DetectionHeadConfig.channels {self.channels} is not a multiple of {name} {getattr(self, name)}"
                )
