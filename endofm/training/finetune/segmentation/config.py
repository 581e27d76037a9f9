"""Settings of ``endofm finetune segmentation``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from endofm.config import EncoderConfig
from endofm.config.checks import require_int, require_number
from endofm.data.segmentation.mask_reading import MaskRule
from endofm.errors import ConfigError
from endofm.tasks.segmentation.config import MaskNetwork
from endofm.training.config_schema import resume_safe
from endofm.training.finetune.recipe import OptimizerConfig, ScheduleConfig
from endofm.training.run_config import RunConfig
from endofm.training.transfer.head_only import FullTransfer
from endofm.training.transfer.methods import AnyTransfer, require_transfer_for


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """What the model begins as, and what it is called.

    Attributes:
        source: Registered name, hub repository, model folder, `.safetensors` file or original `.pth` checkpoint whose
            encoder is the start; null for random weights.
        encoder: Architecture of random weights; null for the published one.
        frames_only: Take the encoder's blocks without their attention over time, run on every frame (the image
            transformer that ST-Adapter begins from).
        network: `hybrid`, the published network with a convolutional stem of its own, or `light`, a small decoder on
            the patch tokens of the plain encoder.
        stem_width: Hybrid: channels of the stem's finest map.
        stem_units: Hybrid: bottlenecks of the stem's stages.
        decoder_widths: Hybrid: channels of the decoder.
        light_width: Light: channels inside the head.
        drop_path_rate: Stochastic depth while training.
        dropout: Dropout of the head while training.
        preprocess: `encoder`: the whole frame, with the statistics of the encoder (red first); `published`: blue first,
            values of every frame stretched twice, antialiased, as the original does it.
        image_size: Side in pixels of what the network sees; null for the encoder's.
        num_frames: Frames that the finished model looks at together; null for the encoder's or the published number.
        name: Title of the model that comes out.
        license: Licence of its weights, as an identifier such as `cc-by-nc-4.0`.
    """

    source: str | None = None
    encoder: EncoderConfig | None = None
    frames_only: bool = False
    network: MaskNetwork = "hybrid"
    stem_width: int = 64
    stem_units: tuple[int, int, int] = (3, 4, 9)
    decoder_widths: tuple[int, int, int, int, int] = (512, 256, 128, 64, 16)
    light_width: int = 256
    drop_path_rate: float = 0.0
    dropout: float = 0.1
    preprocess: Literal["encoder", "published"] = "encoder"
    image_size: int | None = None
    num_frames: int | None = None
    name: str = ""
    license: str = ""

    def __post_init__(self) -> None:
        require_number(self, "drop_path_rate", "dropout", low=0, high=0.99)
        if self.source is not None and self.encoder is not None:
            raise ConfigError("give source (weights) or encoder (random weights of a form), not both")
        if self.image_size is not None and (self.image_size < 32 or self.image_size % 16):
            raise ConfigError(f"image_size must be a multiple of 16 and at least 32, got {self.image_size}")
        if self.num_frames is not None and self.num_frames < 1:
            raise ConfigError(f"num_frames must be at least 1, or null, got {self.num_frames}")


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Clips with masks.

    Attributes:
        train: Lists: CSV files with the columns `frames,masks,patient`, lists of the original, or folders that hold
            them (`folder#name` for one of several).
        validation: Likewise, to choose the epoch; none to take the list `val` of the folders in `train`, or else to
            hold out a part of `train`.
        test: Likewise, to report on.
        validation_fraction: Share of the patients (or videos) of `train` that is held out if there is no validation.
        select_on_test: Choose the epoch on the test list, as published. What is reported is then too good.
        allow_overlap: Let patients (or videos) be in several lists, as in the published ones; the report tells of it.
        root: Folder that paths in lists are relative to; null for the list's own.
        labels: Names of the classes, background first.
        masks: What values of masks mean: `bright` (class 1 above 127), `white` (class 1 is 255 alone, as published) or
            `classes` (the number of the class).
        num_frames: Frames of a training clip, taken from a random place; null for the whole clip, as published.
        frame_stride: Take every n-th frame.
        repeats: How often an epoch goes through the clips, each time at another place.
        augment: `clip`: one draw for all frames of a clip, so that they stay coherent; `published`: a crop, flip and
            turn of its own for every frame; `none`.
    """

    train: tuple[str, ...] = ()
    validation: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    validation_fraction: float = 0.2
    select_on_test: bool = False
    allow_overlap: bool = False
    root: str | None = None
    labels: tuple[str, ...] = ("background", "polyp")
    masks: MaskRule = "bright"
    num_frames: int | None = 8
    frame_stride: int = 1
    repeats: int = 1
    augment: Literal["clip", "published", "none"] = "clip"

    def __post_init__(self) -> None:
        require_number(self, "validation_fraction", low=0, high=0.9, open_low=True)
        require_int(self, "frame_stride", "repeats")
        if self.num_frames is not None and self.num_frames < 1:
            raise ConfigError(f"num_frames must be at least 1, or null, got {self.num_frames}")
        if len(self.labels) < 2:
            raise ConfigError(f"labels name the background first and then at least one class, got {self.labels!r}")
        if self.select_on_test and self.validation:
            raise ConfigError("select_on_test chooses the epoch on the test list; drop it, or drop validation")


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """How a training clip is changed under `data.augment: clip`: one draw for all its frames.

    Attributes:
        scale: Range of the share of the frame's area that is shown.
        aspect: Range of the factor by which width over height is changed.
        flip: Mirror left and right, and top and bottom, each with probability 1/2.
        rotation: Largest turn in degrees.
        brightness: Largest relative change.
        contrast: Likewise.
        saturation: Likewise.
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
class LossConfig:
    """What is minimised: cross-entropy and Dice.

    Attributes:
        dice_weight: Weight of Dice; cross-entropy has the rest.
        dice_per_clip: Take Dice over each clip of a batch and average, rather than over the whole batch.
    """

    dice_weight: float = 0.5
    dice_per_clip: bool = True

    def __post_init__(self) -> None:
        require_number(self, "dice_weight", low=0, high=1)


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """How masks are scored in validation and test.

    Attributes:
        at: `frame`: at the size of the frames, where users need masks; `network`: at the size that the network sees,
            as published.
        num_frames: Frames that are looked at together; null for the whole clip at once, as published.
        overlap: Frames that neighbouring windows share.
        resamples: Resamples of the bootstrap over patients (or videos) for the report; 0 for no intervals.
        worst: Frames on the contact sheet of the worst ones; 0 for no sheet.
    """

    at: Literal["frame", "network"] = "frame"
    num_frames: int | None = 8
    overlap: int = 2
    resamples: int = resume_safe(1000)
    worst: int = resume_safe(12)

    def __post_init__(self) -> None:
        require_int(self, "overlap", "resamples", "worst", low=0)
        if self.num_frames is not None and not self.overlap < self.num_frames:
            raise ConfigError(f"overlap {self.overlap} must be smaller than num_frames {self.num_frames}")

    def options(self, mask_rule: MaskRule) -> dict[str, Any]:
        """Return the arguments of :func:`~endofm.evaluation.run_segmenter.run_segmenter`."""
        return {"mask_rule": mask_rule, "size": self.at, "num_frames": self.num_frames, "overlap": self.overlap}


@dataclass(frozen=True, kw_only=True)
class SegmentationConfig:
    """Everything that a fine-tuning run depends on.

    Attributes:
        model: What the model begins as.
        transfer: What learns: `full`, `linear` (the encoder is frozen), `st-adapter` or `lora`.
        data: Clips with masks.
        augment: How training clips are changed.
        loss: What is minimised.
        optimizer: How weights follow gradients.
        schedule: How the learning rate changes.
        evaluation: How masks are scored.
        seeds: Seeds of several runs, one after the other, whose results are averaged; none for `run.seed` alone.
        run: Length, devices, care.
    """

    model: ModelConfig = field(default_factory=ModelConfig)
    transfer: AnyTransfer = field(default_factory=FullTransfer)
    data: DataConfig = field(default_factory=DataConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    seeds: tuple[int, ...] = ()
    run: RunConfig = field(default_factory=RunConfig)

    def __post_init__(self) -> None:
        require_transfer_for("segmentation", self.transfer)
        if not self.data.train:
            raise ConfigError("name the clips to learn from: data.train=LIST (or a prepared set)")
        if self.data.select_on_test and not self.data.test:
            raise ConfigError("data.select_on_test needs a test list: data.test=LIST")
        if self.data.num_frames is None and self.run.batch_size > self.run.accumulate:
            raise ConfigError(
                "whole clips (data.num_frames: null) have different lengths and go one by one: set run.batch_size "
                "equal to run.accumulate, or data.num_frames to a number"
            )
        if (self.data.augment == "published") != (self.model.preprocess == "published"):
            raise ConfigError("data.augment and model.preprocess go together: both published, or neither")
