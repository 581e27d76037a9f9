"""Description of a detector of objects in video frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from endofm.config.checks import require_bool, require_choice, require_int, require_number
from endofm.config.head import HeadConfig
from endofm.errors import ConfigError

DetectionSupports = Literal["spread", "all", "random"]


@dataclass(frozen=True, kw_only=True)
class DetectionHeadConfig(HeadConfig):
    """Head of :class:`~endofm.tasks.detection.model.EndoFMForDetection`.

    Attributes:
        labels: Names of the classes of objects, without background.
        channels: Width of the pyramid and the towers.
        tower_depth: Convolutions in each tower.
        norm_groups: Groups of the towers' group normalisation; divides ``channels``.
        offset_groups: Groups of channels that share their offsets in the alignment; divides ``channels``.
        clip_frames: Successive frames that the encoder looks at together, in order of time. 1, as the original tests,
            looks at each frame alone.
        supports: Which other frames a frame is refined with; see :class:`~endofm.tasks.detection.supports.SupportPlan`.
        num_supports: How many.
        support_reach: Farthest of them, in frames.
        score_threshold: Smallest first-stage score of a candidate.
        candidates: Candidates per level that enter the suppression.
        nms_iou: Overlap above which the weaker of two boxes is dropped.
        nms_across_classes: Let boxes of different classes suppress one another, so that an object has one box.
        max_boxes: Boxes of a frame.
        last_pixel_inside: A box may reach to the last pixel's number (width - 1), as the original counts, instead of
            its outer edge (width).
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
    score_threshold: float = 0.05
    candidates: int = 1000
    nms_iou: float = 0.6
    nms_across_classes: bool = True
    max_boxes: int = 300
    last_pixel_inside: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        counts = ("channels", "tower_depth", "norm_groups", "offset_groups", "clip_frames", "support_reach")
        require_int(self, *counts, "candidates", "max_boxes")
        require_choice(self, "supports", get_args(DetectionSupports))
        require_bool(self, "nms_across_classes", "last_pixel_inside")
        require_int(self, "num_supports", low=0)
        require_number(self, "score_threshold", "nms_iou", low=0, high=1)
        for name in ("norm_groups", "offset_groups"):
            if self.channels % getattr(self, name):
                raise ConfigError(
                    f"DetectionHeadConfig.channels {self.channels} is not a multiple of {name} {getattr(self, name)}"
                )
