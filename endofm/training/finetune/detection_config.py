"""Settings of ``endofm finetune detection``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from endofm.config.checks import require_int, require_number
from endofm.errors import ConfigError
from endofm.training.config_schema import resume_safe
from endofm.training.finetune.learning_rate import ScheduleConfig, StepScheduleConfig
from endofm.training.finetune.optimizer_config import OptimizerConfig, PublishedSgdConfig
from endofm.training.finetune.shared_config import FineTuneConfig, ReportConfig, SplitConfig, StartConfig


@dataclass(frozen=True, kw_only=True)
class DetectorStart(StartConfig):
    """Initial detector.

    Attributes:
        detector: A complete detector to train further, head and preprocessing included, instead of an encoder.
        size: Longer side of the input in pixels; the aspect ratio is kept, with the encoder's statistics.
        channels: Width of pyramid and towers.
        tower_depth: Convolutions in each tower.
        num_supports: Other frames that a frame is refined with in inference; 0 for no refinement.
        support_reach: Distance of the farthest of them, in frames.
        drop_path_rate: Stochastic depth while training.
    """

    detector: str | None = None
    size: int = 640
    channels: int = 256
    tower_depth: int = 4
    num_supports: int = 10
    support_reach: int = 9
    drop_path_rate: float = 0.1
    alternatives: ClassVar[tuple[str, ...]] = ("source", "encoder", "detector")

    def __post_init__(self) -> None:
        super().__post_init__()
        require_int(self, "size", "channels", "tower_depth", "support_reach")
        require_int(self, "num_supports", low=0)

    def describe(self) -> str:
        """Return the start for a report."""
        return super().describe() if self.detector is None else self.detector


@dataclass(frozen=True, kw_only=True)
class DetectorData(SplitConfig):
    """Videos with boxes.

    Attributes:
        root: Folder of a set (``endofm data prepare kumc``, ``endofm data synth --task detection``, the published
            layout); null if the sets below are COCO files.
        train: Subset of `root` to train on, or a COCO file.
        validation: Subset or COCO file to choose the epoch on; null to hold out a part of `train`.
        test: Subset or COCO file to report on.
        labels: Names of the classes in order. The published layout needs them; a COCO file names its own.
        fps: Frames per second where the set does not give them.
        clip_boxes: Cut boxes at the edge of the image, and drop those without an area, rather than refuse them.
        supports: Supports of a training sample.
        reach: Distance of the farthest of them, in frames.
        together: The frames of a sample share the encoder's attention over time in training. The detector then sees as
            many successive frames together, except with the published inference (one by one). False to see every frame
            alone, as an online detector has to.
        flip: Probability of a horizontal flip.
        every: Use every n-th frame of a video as target.
    """

    root: str | None = None
    train: str = "train"
    validation: str | None = None
    test: str | None = None
    labels: tuple[str, ...] = ()
    fps: float = 30.0
    clip_boxes: bool = False
    supports: int = 2
    reach: int = 9
    together: bool = True
    flip: float = 0.5
    every: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        require_number(self, "flip", low=0, high=1)
        require_number(self, "fps", low=0, open_low=True)
        require_int(self, "reach", "every")
        require_int(self, "supports", low=0)
        self.require_selectable(self.validation, self.test)
        if self.camera is not None and self.root is None:
            raise ConfigError("data.camera moves over stills; name their folder or list with data.root")
        if self.root is None and not self.train.endswith(".json"):
            raise ConfigError("name the videos to train on: data.root=FOLDER, or data.train=FILE.json")


@dataclass(frozen=True, kw_only=True)
class PublishedDetection:
    """Choices of the published fine-tuning on KUMC, each off by default.

    Attributes:
        preprocess: Published input and inference (`kumc.pth`): frames squashed to 640 x 640, blue first, 0 to 255 less
            a mean; supports drawn at random; boxes of each class suppressed separately.
        fixed_offsets: Never train the offsets of the alignment.
        zero_distances: Distances to the sides of boxes start around zero, rather than at a stride.
        target_first: The target frame enters the encoder before its supports, rather than in order of time.
        positives_only: Skip frames without boxes, rather than train on them as background.
    """

    preprocess: bool = False
    fixed_offsets: bool = False
    zero_distances: bool = False
    target_first: bool = False
    positives_only: bool = False


@dataclass(frozen=True, kw_only=True)
class DetectorEvaluation(ReportConfig):
    """Evaluation of detectors in validation and test.

    Attributes:
        threshold: Score from which a box counts.
        every: Run on every n-th frame.
        batch_size: Clips at a time.
        resamples: Resamples of the bootstrap over patients (or videos); 0 for no intervals.
        without_refinement: Report a second time without supports.
    """

    threshold: float = 0.5
    every: int = 1
    batch_size: int = resume_safe(2)
    resamples: int = resume_safe(500)
    without_refinement: bool = resume_safe(False)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_number(self, "threshold", low=0, high=1)
        require_int(self, "every", "batch_size")


@dataclass(frozen=True, kw_only=True)
class DetectionConfig(FineTuneConfig):
    """All settings of a fine-tuning run.

    Attributes:
        optimizer: Optimizer settings: `adamw`, `sgd`, or `published-sgd`.
        schedule: Learning-rate schedule: `cosine`, `polynomial`, `constant`, or `steps` as published.
        published: Choices of the published fine-tuning.
    """

    model: DetectorStart = field(default_factory=DetectorStart)
    data: DetectorData
    published: PublishedDetection = field(default_factory=PublishedDetection)
    optimizer: OptimizerConfig | PublishedSgdConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig | StepScheduleConfig = field(default_factory=ScheduleConfig)
    evaluation: DetectorEvaluation = field(default_factory=DetectorEvaluation)
    task: ClassVar[str] = "detection"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.run.strategy == "fsdp":
            raise ConfigError("run.strategy: detectors are trained with ddp, which fits them on every usual GPU")
