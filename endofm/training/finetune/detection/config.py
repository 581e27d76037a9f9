"""Settings of ``endofm finetune detection``."""

from __future__ import annotations

from dataclasses import dataclass, field

from endofm.config import EncoderConfig, PreprocessConfig
from endofm.config.checks import require_int, require_number
from endofm.data.detection.samples import FrameOrder
from endofm.errors import ConfigError
from endofm.tasks.detection.config import DetectionHeadConfig
from endofm.tasks.detection.layout import published_head, published_preprocess
from endofm.training.config_schema import resume_safe
from endofm.training.finetune.detection.published import PublishedSgdConfig, StepScheduleConfig
from endofm.training.finetune.recipe import OptimizerConfig, ScheduleConfig
from endofm.training.run_config import RunConfig
from endofm.training.transfer.head_only import FullTransfer
from endofm.training.transfer.methods import AnyTransfer, require_transfer_for


@dataclass(frozen=True, kw_only=True)
class DetectorConfig:
    """What the detector begins as, and what it is called.

    Attributes:
        source: Registered name, hub repository, model folder, `.safetensors` file or original `.pth` checkpoint whose
            encoder is the start; null for random weights.
        encoder: Architecture of random weights; null for the published one.
        detector: A whole detector to go on from, head and preprocessing included, instead.
        published: Input and inference as the original's (`kumc.pth`): frames squashed to 640 x 640, blue first, 0 to
            255 less a mean; supports drawn at random; boxes of each class by themselves.
        size: Longer side of the input in pixels; aspect ratio kept, the encoder's own statistics.
        channels: Width of pyramid and towers.
        tower_depth: Convolutions in each tower.
        num_supports: Other frames that a frame is refined with in inference; 0 for no refinement.
        support_reach: Farthest of them, in frames.
        learn_offsets: Let the offsets of the alignment learn; the original never trains them.
        drop_path_rate: Stochastic depth while training.
        name: Title of the model that comes out.
        license: Licence of its weights, as an identifier such as `cc-by-nc-4.0`.
    """

    source: str | None = None
    encoder: EncoderConfig | None = None
    detector: str | None = None
    published: bool = False
    size: int = 640
    channels: int = 256
    tower_depth: int = 4
    num_supports: int = 10
    support_reach: int = 9
    learn_offsets: bool = True
    drop_path_rate: float = 0.1
    name: str = ""
    license: str = ""

    def __post_init__(self) -> None:
        require_int(self, "size", "channels", "tower_depth", "support_reach")
        require_int(self, "num_supports", low=0)
        require_number(self, "drop_path_rate", low=0, high=0.99)
        if sum(value is not None for value in (self.source, self.encoder, self.detector)) > 1:
            raise ConfigError("give one of source (weights), encoder (random weights) and detector, not several")

    def head(self, labels: tuple[str, ...], *, clip_frames: int) -> DetectionHeadConfig:
        """Return the head for these classes."""
        if self.published:
            return published_head(labels, channels=self.channels)
        return DetectionHeadConfig(
            labels=labels,
            channels=self.channels,
            tower_depth=self.tower_depth,
            norm_groups=min(32, max(self.channels // 8, 1)),
            num_supports=self.num_supports,
            support_reach=self.support_reach,
            clip_frames=clip_frames,
        )

    def preprocess(self, encoder: PreprocessConfig) -> PreprocessConfig:
        """Return how frames become the input, given how they became the encoder's."""
        if self.published:
            return published_preprocess()
        return PreprocessConfig.fitted_frame(self.size, num_frames=1, mean=encoder.mean, std=encoder.std)


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Videos with boxes.

    Attributes:
        root: Folder of a set (``endofm data prepare kumc``, ``endofm data synth --task detection``, the original
            layout); null if the sets below are COCO files.
        train: Subset of `root` to learn from, or a COCO file.
        validation: Likewise, to choose the epoch; null to hold out a part of `train`.
        test: Likewise, to report on.
        validation_fraction: Share of the patients (or videos) of `train` that is held out if there is no validation.
        labels: Names of the classes in order. The original layout needs them; a COCO file names its own.
        fps: Frames per second where the set does not tell.
        clip_boxes: Cut boxes at the rim of the image, and leave out those without an area, rather than refuse them.
        supports: Supports of a training sample.
        reach: Farthest of them, in frames.
        order: `time`: the frames of a sample pass the encoder in order of time; `target-first`, as published.
        together: The frames of a sample share the encoder's attention over time in training. The detector then looks at
            as many successive frames together, unless the original's inference (one by one) is asked for. False looks
            at every frame alone, as an online detector has to.
        flip: Probability of a horizontal flip.
        negatives: Learn from frames without boxes too, as background; the original skips them.
        every: Take every n-th frame of a video as target.
    """

    root: str | None = None
    train: str = "train"
    validation: str | None = None
    test: str | None = None
    validation_fraction: float = 0.2
    labels: tuple[str, ...] = ()
    fps: float = 30.0
    clip_boxes: bool = False
    supports: int = 2
    reach: int = 9
    order: FrameOrder = "time"
    together: bool = True
    flip: float = 0.5
    negatives: bool = True
    every: int = 1

    def __post_init__(self) -> None:
        require_number(self, "validation_fraction", low=0, high=0.9, open_low=True)
        require_number(self, "flip", low=0, high=1)
        require_number(self, "fps", low=0, open_low=True)
        require_int(self, "reach", "every")
        require_int(self, "supports", low=0)
        if self.root is None and not self.train.endswith(".json"):
            raise ConfigError("name the videos to learn from: data.root=FOLDER, or data.train=FILE.json")


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """How detectors are judged in validation and test.

    Attributes:
        threshold: Score from which a box counts.
        every: Look at every n-th frame.
        batch_size: Clips at a time.
        resamples: Resamples of the bootstrap over patients (or videos) for the report; 0 for no intervals.
        pictures: Draw the score sweep and the worst frames.
        without_refinement: Report a second time without supports.
    """

    threshold: float = 0.5
    every: int = 1
    batch_size: int = resume_safe(2)
    resamples: int = resume_safe(500)
    pictures: bool = resume_safe(True)
    without_refinement: bool = resume_safe(False)

    def __post_init__(self) -> None:
        require_number(self, "threshold", low=0, high=1)
        require_int(self, "every", "batch_size")
        require_int(self, "resamples", low=0)


@dataclass(frozen=True, kw_only=True)
class DetectionConfig:
    """Everything that a fine-tuning run depends on.

    Attributes:
        model: What the detector begins as.
        transfer: What learns: `full`, `linear` (everything after the encoder), `st-adapter` or `lora`.
        data: Videos with boxes.
        optimizer: How weights follow gradients: `adamw`, `sgd`, or `published-sgd`.
        schedule: How the learning rate changes: `cosine`, `polynomial`, `constant`, or `steps` as published.
        evaluation: How detectors are judged.
        seeds: Seeds of several runs, one after the other, whose results are averaged; none for `run.seed` alone.
        run: Length, devices, care.
    """

    model: DetectorConfig = field(default_factory=DetectorConfig)
    transfer: AnyTransfer = field(default_factory=FullTransfer)
    data: DataConfig
    optimizer: OptimizerConfig | PublishedSgdConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig | StepScheduleConfig = field(default_factory=ScheduleConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    seeds: tuple[int, ...] = ()
    run: RunConfig = field(default_factory=RunConfig)

    def __post_init__(self) -> None:
        require_transfer_for("detection", self.transfer)
        if self.run.strategy == "fsdp":
            raise ConfigError("run.strategy: detectors are trained with ddp, which fits them on every usual GPU")
