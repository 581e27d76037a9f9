"""Description of a detector of objects in video frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from endofm.config.checks import is_number, require_bools, require_choice, require_positive_ints
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
        require_positive_ints(self, (*counts, "candidates", "max_boxes"))
        require_choice(self, "supports", get_args(DetectionSupports))
        require_bools(self, ("nms_across_classes", "last_pixel_inside"))
        if not isinstance(self.num_supports, int) or isinstance(self.num_supports, bool) or self.num_supports < 0:
            raise ConfigError(
                f"DetectionHeadConfig.num_supports must be a whole number >= 0, got {self.num_supports!r}"
            )
        for name in ("score_threshold", "nms_iou"):
            value = getattr(self, name)
            if not is_number(value) or not 0 <= value <= 1:
                raise ConfigError(f"DetectionHeadConfig.{name} must be between 0 and 1, got {value!r}")
        for name in ("norm_groups", "offset_groups"):
            if self.channels % getattr(self, name):
                raise ConfigError(
                    f"DetectionHeadConfig.channels {self.channels} is not a multiple of {name} {getattr(self, name)}"
                )
