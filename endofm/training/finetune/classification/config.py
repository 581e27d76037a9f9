"""Settings of ``endofm finetune classification``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from endofm.config import EncoderConfig
from endofm.config.checks import require_int, require_number
from endofm.errors import ConfigError
from endofm.training.config_schema import resume_safe
from endofm.training.finetune.recipe import OptimizerConfig, ScheduleConfig
from endofm.training.run_config import RunConfig
from endofm.training.transfer.head_only import FullTransfer
from endofm.training.transfer.methods import AnyTransfer


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """What the model begins as, and what it is called.

    Attributes:
        source: Registered name, hub repository, model folder, `.safetensors` file or original `.pth` checkpoint whose
            encoder is the start; null for random weights.
        encoder: Architecture of random weights; null for the published one.
        timm: Name of an image transformer of timm, run on every frame, instead (the baseline of ST-Adapter).
        frames_only: Take the encoder's blocks without their attention over time, run on every frame.
        drop_path_rate: Stochastic depth while training.
        dropout: Dropout before the last layer while training.
        preprocess: Statistics, crop and window: `encoder`: those of the encoder; `published`: those that the original
            evaluates its classifiers with.
        window_seconds: Time that a clip spans; null for that of the preprocessing.
        thresholds: Probability per class from which it is predicted, stored with the model; empty for the usual rule.
        name: Title of the model that comes out.
        license: Licence of its weights, as an identifier such as `cc-by-nc-4.0`.
    """

    source: str | None = None
    encoder: EncoderConfig | None = None
    timm: str | None = None
    frames_only: bool = False
    drop_path_rate: float = 0.0
    dropout: float = 0.0
    preprocess: Literal["encoder", "published"] = "encoder"
    window_seconds: float | None = None
    thresholds: tuple[float, ...] = ()
    name: str = ""
    license: str = ""

    def __post_init__(self) -> None:
        require_number(self, "drop_path_rate", "dropout", low=0, high=0.99)
        if sum(value is not None for value in (self.source, self.encoder, self.timm)) > 1:
            raise ConfigError("give one of source (weights), encoder (random weights of a form) and timm, not several")
        if self.timm is not None and self.frames_only:
            raise ConfigError("an image transformer of timm is run on frames anyway; drop frames_only")


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Labelled videos.

    Attributes:
        train: Lists `path,label[,start,end]`, the original's split files, or prepared sets with a manifest. Of a
            manifest that has subsets, `train` is taken here, `val` and `test` there, unless they are named.
        validation: Likewise, to choose the epoch; none to hold out a part of `train`.
        test: Likewise, to report on.
        validation_fraction: Share of the patients (or videos) of `train` that is held out if there is no validation.
        select_on_test: Choose the epoch on the test set, as published. What is reported is then too good.
        root: Folder that paths in lists are relative to; null for the list's own or `videos` beside it.
        classes: Names of the classes in order; none for the labels as they occur.
        multi_label: Several labels may hold: they are written `a+b`, and `none` for no label.
        clips: Which frames make a clip: `random`: a window at a random place in training, evenly placed ones in
            evaluation; `upstream`: the original's rule.
        class_weights: `balanced` weighs classes by the inverse of their frequency in `train`.
        label_smoothing: Share of the target that is spread over all classes.
    """

    train: tuple[str, ...] = ()
    validation: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    validation_fraction: float = 0.2
    select_on_test: bool = False
    root: str | None = None
    classes: tuple[str, ...] = ()
    multi_label: bool = False
    clips: Literal["random", "upstream"] = "random"
    class_weights: Literal["none", "balanced"] = "none"
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        require_number(self, "validation_fraction", low=0, high=0.9, open_low=True)
        require_number(self, "label_smoothing", low=0, high=0.9)
        if self.select_on_test and self.validation:
            raise ConfigError("select_on_test chooses the epoch on the test set; drop it, or drop validation")


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """How videos are classified in validation and test.

    Attributes:
        time_views: Windows per video, evenly placed, whose probabilities are averaged.
        crops: 1, or 3 along the longer side.
        batch_size: Clips at a time.
        resamples: Resamples of the bootstrap over patients (or videos) for the report; 0 for no intervals.
        pictures: Draw ROC curves and confusion matrix.
    """

    time_views: int = 1
    crops: int = 1
    batch_size: int = resume_safe(8)
    resamples: int = resume_safe(1000)
    pictures: bool = resume_safe(True)

    def __post_init__(self) -> None:
        require_int(self, "time_views", "batch_size")
        require_int(self, "resamples", low=0)
        if self.crops not in (1, 3):
            raise ConfigError(f"crops must be 1 or 3, got {self.crops}")


@dataclass(frozen=True, kw_only=True)
class ClassificationConfig:
    """Everything that a fine-tuning run depends on.

    Attributes:
        model: What the model begins as.
        transfer: What learns: `full`, `linear`, `attentive`, `st-adapter` or `lora`.
        data: Labelled videos.
        optimizer: How weights follow gradients.
        schedule: How the learning rate changes.
        evaluation: How videos are classified.
        seeds: Seeds of several runs, one after the other, whose results are averaged; none for `run.seed` alone.
        run: Length, devices, care.
    """

    model: ModelConfig = field(default_factory=ModelConfig)
    transfer: AnyTransfer = field(default_factory=FullTransfer)
    data: DataConfig = field(default_factory=DataConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    seeds: tuple[int, ...] = ()
    run: RunConfig = field(default_factory=RunConfig)

    def __post_init__(self) -> None:
        if not self.data.train:
            raise ConfigError("name the labelled videos to learn from: data.train=LIST (or a prepared set)")
        if self.data.select_on_test and not self.data.test:
            raise ConfigError("data.select_on_test needs a test set: data.test=LIST")
