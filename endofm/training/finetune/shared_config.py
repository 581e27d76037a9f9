"""Settings that fine-tuning has in common for all tasks; nothing here imports torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

from endofm.config import EncoderConfig
from endofm.config.checks import require_int, require_number
from endofm.data.stills.virtual_camera import CameraConfig
from endofm.errors import ConfigError
from endofm.training.config_schema import resume_safe
from endofm.training.finetune.learning_rate import ScheduleConfig, StepScheduleConfig
from endofm.training.finetune.optimizer_config import OptimizerConfig, PublishedSgdConfig
from endofm.training.run_config import RunConfig
from endofm.training.transfer.head_only import FullTransfer
from endofm.training.transfer.methods import AnyTransfer, require_transfer_for


@dataclass(frozen=True, kw_only=True)
class StartConfig:
    """Initial model, and title and licence of the trained one.

    Attributes:
        source: Registered name, hub repository, model folder, `.safetensors` file or published `.pth` checkpoint whose
            encoder is the start; null for random weights.
        encoder: Architecture of random weights; null for the published one. A string names weights, as `source` does:
            `model.encoder=surgmotion-l`.
        drop_path_rate: Stochastic depth while training.
        name: Title of the trained model.
        license: Licence of its weights, as an identifier such as `cc-by-nc-4.0`.
    """

    source: str | None = None
    encoder: EncoderConfig | str | None = None
    drop_path_rate: float = 0.0
    name: str = ""
    license: str = ""
    alternatives: ClassVar[tuple[str, ...]] = ("source", "encoder")
    """Settings of which at most one may be given."""

    def __post_init__(self) -> None:
        require_number(self, "drop_path_rate", low=0, high=0.99)
        # Silently preferring one of them would train another model than the user thinks.
        if sum(getattr(self, name) is not None for name in self.alternatives) > 1:
            raise ConfigError(f"give one of {', '.join(self.alternatives)}, not several")

        if isinstance(self.encoder, str):
            object.__setattr__(self, "source", self.encoder)
            object.__setattr__(self, "encoder", None)

    @property
    def architecture(self) -> EncoderConfig:
        """Architecture of random weights."""
        assert not isinstance(self.encoder, str)  # it has become the source
        return self.encoder or EncoderConfig()

    def describe(self) -> str:
        """Return the start for a report, without the folders of this machine."""
        return "random weights" if self.source is None else Path(self.source).name


@dataclass(frozen=True, kw_only=True)
class SplitConfig:
    """Rules for training, validation and test sets.

    Attributes:
        validation_fraction: Fraction of the patients (or videos) of `train` that is held out if there is no validation
            set.
        select_on_test: Choose the epoch on the test set, as published. The reported scores are then too good.
        allow_overlap: Let patients (or videos) be in several sets, as in some published lists; the report says so.
        allow_missing: Leave out listed files that do not exist, rather than stop; report and card say how many.
        camera: Path of a virtual camera. The sources are then stills: folders or lists in any layout of
            `endofm data prepare stills`. In training each still is a clip on another path in every epoch; validation
            and test see the stills as they are. null for sources of clips.
    """

    validation_fraction: float = 0.2
    select_on_test: bool = False
    allow_overlap: bool = False
    allow_missing: bool = False
    camera: CameraConfig | None = None

    def __post_init__(self) -> None:
        require_number(self, "validation_fraction", low=0, high=0.9, open_low=True)

    @property
    def missing(self) -> Literal["refuse", "leave out"]:
        """Treatment of listed files that do not exist, as :func:`~endofm.data.listing.read_clips` names it."""
        return "leave out" if self.allow_missing else "refuse"

    def require_selectable(self, validation: object, test: object) -> None:
        """Raise ConfigError if `select_on_test` contradicts the sets that are named."""
        if self.select_on_test and validation:
            raise ConfigError("select_on_test chooses the epoch on the test set; drop it, or drop validation")
        if self.select_on_test and not test:
            raise ConfigError("select_on_test needs a test set: data.test=LIST")


@dataclass(frozen=True, kw_only=True)
class ReportConfig:
    """Settings of the report.

    Attributes:
        resamples: Resamples of the bootstrap over patients (or videos); 0 for no intervals.
        pictures: Draw the pictures of the report.
    """

    resamples: int = resume_safe(1000)
    pictures: bool = resume_safe(True)

    def __post_init__(self) -> None:
        require_int(self, "resamples", low=0)


@dataclass(frozen=True, kw_only=True)
class FineTuneConfig:
    """All settings of a fine-tuning run; every task has a subclass.

    Attributes:
        model: Initial model.
        transfer: Transfer method: `full`, `linear`, `attentive` (classification only), `st-adapter` or `lora`.
        data: Labelled data.
        optimizer: Optimizer settings.
        schedule: Learning-rate schedule.
        evaluation: Evaluation in validation and test.
        seeds: Seeds of several runs, one after the other, whose scores are averaged; none for `run.seed` alone.
        run: Duration, devices, checkpoints and logs.
        task: Name of the task.
    """

    model: StartConfig = field(default_factory=StartConfig)
    transfer: AnyTransfer = field(default_factory=FullTransfer)
    data: SplitConfig = field(default_factory=SplitConfig)
    optimizer: OptimizerConfig | PublishedSgdConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig | StepScheduleConfig = field(default_factory=ScheduleConfig)
    evaluation: ReportConfig = field(default_factory=ReportConfig)
    seeds: tuple[int, ...] = ()
    run: RunConfig = field(default_factory=RunConfig)
    task: ClassVar[str]

    def __post_init__(self) -> None:
        require_transfer_for(self.task, self.transfer)
