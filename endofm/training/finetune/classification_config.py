"""Settings of ``endofm finetune classification``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from endofm.config.checks import require_int, require_number
from endofm.errors import ConfigError
from endofm.training.config_schema import resume_safe
from endofm.training.finetune.learning_rate import ScheduleConfig
from endofm.training.finetune.optimizer_config import OptimizerConfig
from endofm.training.finetune.shared_config import FineTuneConfig, ReportConfig, SplitConfig, StartConfig


@dataclass(frozen=True, kw_only=True)
class ClassifierStart(StartConfig):
    """Initial classifier.

    Attributes:
        timm: Name of an image transformer of timm, run on every frame, as the encoder (the baseline of ST-Adapter).
        frames_only: Use the encoder's blocks without their attention over time, on every frame.
        dropout: Dropout before the last layer while training.
        window_seconds: Time that a clip spans; null for that of the preprocessing.
        thresholds: Probability per class from which it is predicted, stored with the model; empty for the default rule.
    """

    timm: str | None = None
    frames_only: bool = False
    dropout: float = 0.0
    window_seconds: float | None = None
    thresholds: tuple[float, ...] = ()
    alternatives: ClassVar[tuple[str, ...]] = ("source", "encoder", "timm")

    def __post_init__(self) -> None:
        super().__post_init__()
        require_number(self, "dropout", low=0, high=0.99)
        if self.timm is not None and self.frames_only:
            raise ConfigError("an image transformer of timm is run on frames anyway; drop frames_only")

    def describe(self) -> str:
        """Return the start for a report."""
        return f"timm {self.timm}" if self.timm is not None else super().describe()


@dataclass(frozen=True, kw_only=True)
class ClassifierData(SplitConfig):
    """Labelled videos.

    Attributes:
        train: Lists `path,label[,start,end]`, published split files, or prepared sets with a manifest. A manifest with
            subsets provides `train` here, and `val` and `test` where they are not named.
        validation: Lists or sets to choose the epoch on; none to hold out a part of `train`.
        test: Lists or sets to report on.
        root: Folder that paths in lists are relative to; null for the list's own or `videos` next to it.
        classes: Names of the classes in order; none for the labels as they occur.
        multi_label: Several labels may hold: they are written `a+b`, and `none` for no label.
        class_weights: `balanced` weighs classes by the inverse of their frequency in `train`.
        label_smoothing: Fraction of the target that is spread over all classes.
    """

    train: tuple[str, ...] = ()
    validation: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    root: str | None = None
    classes: tuple[str, ...] = ()
    multi_label: bool = False
    class_weights: Literal["none", "balanced"] = "none"
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_number(self, "label_smoothing", low=0, high=0.9)
        self.require_selectable(self.validation, self.test)


@dataclass(frozen=True, kw_only=True)
class PublishedClassification:
    """Choices of the published fine-tuning on PolypDiag, each off by default.

    Attributes:
        preprocess: Statistics, crop and window of the published evaluation, rather than those of the encoder.
        frames: Frames by the published sampling rule, rather than a window at a random position in training and evenly
            spaced ones in evaluation.
    """

    preprocess: bool = False
    frames: bool = False


@dataclass(frozen=True, kw_only=True)
class ClassifierEvaluation(ReportConfig):
    """Evaluation of videos in validation and test.

    Attributes:
        time_views: Evenly spaced windows per video, whose probabilities are averaged.
        crops: 1, or 3 along the longer side.
        batch_size: Clips at a time.
    """

    time_views: int = 1
    crops: int = 1
    batch_size: int = resume_safe(8)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_int(self, "time_views", "batch_size")
        if self.crops not in (1, 3):
            raise ConfigError(f"crops must be 1 or 3, got {self.crops}")


@dataclass(frozen=True, kw_only=True)
class ClassificationConfig(FineTuneConfig):
    """All settings of a fine-tuning run.

    Attributes:
        published: Choices of the published fine-tuning.
    """

    model: ClassifierStart = field(default_factory=ClassifierStart)
    data: ClassifierData = field(default_factory=ClassifierData)
    published: PublishedClassification = field(default_factory=PublishedClassification)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    evaluation: ClassifierEvaluation = field(default_factory=ClassifierEvaluation)
    task: ClassVar[str] = "classification"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.data.train:
            raise ConfigError("name the labelled videos to train on: data.train=LIST (or a prepared set)")
