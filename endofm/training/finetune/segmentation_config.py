"""Settings of ``endofm finetune segmentation``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from endofm.config.checks import require_int, require_number
from endofm.data.segmentation import MaskRule
from endofm.errors import ConfigError, quoted
from endofm.tasks.segmentation.config import MaskNetwork
from endofm.training.config_schema import resume_safe
from endofm.training.finetune.learning_rate import ScheduleConfig
from endofm.training.finetune.optimizer_config import OptimizerConfig
from endofm.training.finetune.shared_config import FineTuneConfig, ReportConfig, SplitConfig, StartConfig


@dataclass(frozen=True, kw_only=True)
class SegmenterStart(StartConfig):
    """Initial segmentation model.

    Attributes:
        frames_only: Use the encoder's blocks without their attention over time, on every frame (the image transformer
            that ST-Adapter starts from).
        network: `hybrid`, the published network with a convolutional stem of its own, or `light`, a small decoder on
            the patch tokens of the plain encoder.
        stem_width: Hybrid: channels of the stem's finest map.
        stem_units: Hybrid: bottlenecks of the stem's stages.
        decoder_widths: Hybrid: channels of the decoder.
        light_width: Light: channels inside the head.
        dropout: Dropout of the head while training.
        image_size: Side of the network's input in pixels; null for the encoder's.
        num_frames: Frames that the trained model sees together; null for the encoder's or the published number.
    """

    frames_only: bool = False
    network: MaskNetwork = "hybrid"
    stem_width: int = 64
    stem_units: tuple[int, int, int] = (3, 4, 9)
    decoder_widths: tuple[int, int, int, int, int] = (512, 256, 128, 64, 16)
    light_width: int = 256
    dropout: float = 0.1
    image_size: int | None = None
    num_frames: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        require_number(self, "dropout", low=0, high=0.99)
        # The finest map that is decoded has a sixteenth of the input's side.
        if self.image_size is not None and (self.image_size < 32 or self.image_size % 16):
            raise ConfigError(f"image_size must be a multiple of 16 and at least 32, got {self.image_size}")
        if self.num_frames is not None and self.num_frames < 1:
            raise ConfigError(f"num_frames must be at least 1, or null, got {self.num_frames}")


@dataclass(frozen=True, kw_only=True)
class SegmenterData(SplitConfig):
    """Clips with masks.

    Attributes:
        train: Lists: CSV files with the columns `frames,masks,patient`, published lists, or folders that hold them
            (`folder#name` for one of several).
        validation: Lists to choose the epoch on; none to use the list `val` of the folders in `train`, or else to hold
            out a part of `train`.
        test: Lists to report on; none to use the list `test` of the folders in `train`.
        root: Folder that paths in lists are relative to; null for the list's own.
        labels: Names of the classes, background first.
        masks: Meaning of the values of masks: `bright` (class 1 above 127), `white` (class 1 at 255 only, as published)
            or `classes` (the index of the class).
        num_frames: Frames of a training clip, from a random position; null for the complete clip, as published.
        frame_stride: Use every n-th frame.
        repeats: Passes over the clips in an epoch, each at another position.
        augment: `clip`: one random view for all frames of a clip, so that they stay coherent; `none`.
    """

    train: tuple[str, ...] = ()
    validation: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    root: str | None = None
    labels: tuple[str, ...] = ("background", "polyp")
    masks: MaskRule = "bright"
    num_frames: int | None = 8
    frame_stride: int = 1
    repeats: int = 1
    augment: Literal["clip", "none"] = "clip"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_int(self, "frame_stride", "repeats")
        if self.num_frames is not None and self.num_frames < 1:
            raise ConfigError(f"num_frames must be at least 1, or null, got {self.num_frames}")
        if len(self.labels) < 2:
            raise ConfigError(
                f"labels name the background first and then at least one class, got {quoted(self.labels)}"
            )
        self.require_selectable(self.validation, self.test)


@dataclass(frozen=True, kw_only=True)
class PublishedSegmentation:
    """Choices of the published fine-tuning on CVC-12k, each off by default.

    Attributes:
        views: Published preprocessing (blue first, values of every frame stretched twice, antialiased) and training
            views (a crop, flip and rotation per frame, so that clips are not coherent), rather than the full frame with
            the statistics of the encoder.
        schedule_lag: Steps by which the learning rate lags behind its schedule; the published code sets it after each
            step.
    """

    views: bool = False
    schedule_lag: int = 0

    def __post_init__(self) -> None:
        require_int(self, "schedule_lag", low=0)


@dataclass(frozen=True, kw_only=True)
class ClipAugmentation:
    """Random view of a training clip under `data.augment: clip`, one for all its frames.

    Attributes:
        scale: Range of the fraction of the frame's area that is shown.
        aspect: Range of the factor by which width over height is changed.
        flip: Flip left and right, and top and bottom, each with probability 1/2.
        rotation: Largest rotation in degrees.
        brightness: Largest relative change of brightness.
        contrast: Largest relative change of contrast.
        saturation: Largest relative change of saturation.
    """

    scale: tuple[float, float] = (0.5, 1.0)
    aspect: tuple[float, float] = (0.8, 1.25)
    flip: bool = True
    rotation: float = 20.0
    brightness: float = 0.2
    contrast: float = 0.2
    saturation: float = 0.2

    def __post_init__(self) -> None:
        for name in ("scale", "aspect"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise ConfigError(f"{name} is a range of numbers > 0, got {low} to {high}")
        require_number(self, "rotation", low=0, high=180)
        require_number(self, "brightness", "contrast", "saturation", low=0, high=0.9)


@dataclass(frozen=True, kw_only=True)
class MaskLossConfig:
    """Loss: cross-entropy and Dice.

    Attributes:
        dice_weight: Weight of Dice; cross-entropy has the rest.
        dice_per_clip: Compute Dice over each clip of a batch and average, rather than over the complete batch.
    """

    dice_weight: float = 0.5
    dice_per_clip: bool = True

    def __post_init__(self) -> None:
        require_number(self, "dice_weight", low=0, high=1)


@dataclass(frozen=True, kw_only=True)
class SegmenterEvaluation(ReportConfig):
    """Evaluation of masks in validation and test.

    Attributes:
        at: `frame`: at the size of the frames, where users need masks; `network`: at the size of the network's input,
            as published.
        num_frames: Frames that the model sees together; null for the complete clip at once, as published.
        overlap: Frames that neighbouring windows share.
        worst: Frames on the contact sheet of the worst ones; 0 for no sheet.
    """

    at: Literal["frame", "network"] = "frame"
    num_frames: int | None = 8
    overlap: int = 2
    worst: int = resume_safe(12)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_int(self, "overlap", "worst", low=0)
        if self.num_frames is not None and not self.overlap < self.num_frames:
            raise ConfigError(f"overlap {self.overlap} must be smaller than num_frames {self.num_frames}")

    def options(self, mask_rule: MaskRule) -> dict[str, Any]:
        """Return the arguments of :func:`~endofm.evaluation.run_segmenter.run_segmenter`."""
        return {"mask_rule": mask_rule, "size": self.at, "num_frames": self.num_frames, "overlap": self.overlap}


@dataclass(frozen=True, kw_only=True)
class SegmentationConfig(FineTuneConfig):
    """All settings of a fine-tuning run.

    Attributes:
        published: Choices of the published fine-tuning.
        augment: Random views of training clips.
        loss: Loss.
    """

    model: SegmenterStart = field(default_factory=SegmenterStart)
    data: SegmenterData = field(default_factory=SegmenterData)
    published: PublishedSegmentation = field(default_factory=PublishedSegmentation)
    augment: ClipAugmentation = field(default_factory=ClipAugmentation)
    loss: MaskLossConfig = field(default_factory=MaskLossConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    evaluation: SegmenterEvaluation = field(default_factory=SegmenterEvaluation)
    task: ClassVar[str] = "segmentation"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.data.train:
            raise ConfigError("name the clips to train on: data.train=LIST (or a prepared set)")
        if self.data.num_frames is None and self.run.batch_size > self.run.accumulate:
            raise ConfigError(
                "complete clips (data.num_frames: null) differ in length and are processed one by one: set "
                "run.batch_size equal to run.accumulate, or data.num_frames to a number"
            )
