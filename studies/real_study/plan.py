"""The plan of the study: arms, tasks, fractions of the labels and seeds, and the order of the cells."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from typing import Any, Literal, NamedTuple

from endofm.config import EncoderConfig
from endofm.config.checks import require_int, require_number
from endofm.data.stills.virtual_camera import CameraConfig
from endofm.errors import ConfigError
from endofm.training.pretrain_config import Objective
from studies.real_study.tasks import TASKS, Kind

Transfer = Literal["full", "linear", "st-adapter"]


class Cell(NamedTuple):
    """One fine-tuning run and its score."""

    task: str
    fraction: float
    arm: str
    seed: int

    @property
    def name(self) -> str:
        """Name of the cell in files and messages."""
        return f"{self.task}-{self.fraction * 100:g}-{self.arm}-{self.seed}"


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A part of the pre-training of an arm.

    Attributes:
        objective: The objective.
        steps: Optimisation steps. Their number gives every arm the same seconds of one core; see ``cpu_seconds``.
        batch_size: Clips per step, frames per step of a distillation.
        cpu_seconds: Seconds of one core that the stage was planned to take, from a measurement of its steps.
    """

    objective: Objective
    steps: int
    batch_size: int
    cpu_seconds: float

    def __post_init__(self) -> None:
        require_int(self, "steps", "batch_size")
        require_number(self, "cpu_seconds", low=0)

    def settings(self) -> list[Any]:
        """Return what the result of the stage depends on, as plain values."""
        return [changed(self.objective), self.steps, self.batch_size]


@dataclass(frozen=True, kw_only=True)
class Arm:
    """Initial weights and transfer method.

    Attributes:
        title: Words for table and figure.
        stages: Pre-training, each stage from the result of the one before; none for random weights. Arms that begin
            with the same stages share them.
        transfer: Transfer method of the fine-tuning.
        image_network: Take the frozen ImageNet network instead of the encoder.
    """

    title: str
    stages: tuple[Stage, ...] = ()
    transfer: Transfer = "full"
    image_network: bool = False

    def __post_init__(self) -> None:
        if self.image_network and (self.stages or self.transfer != "linear"):
            raise ConfigError(f"arm {self.title}: the image network is frozen: no stages, and transfer: linear")


@dataclass(frozen=True, kw_only=True)
class Primary:
    """The primary endpoint: the mean of the scores on some tasks, compared between two arms.

    Attributes:
        tasks: The tasks; they score the same images.
        fraction: Fraction of the labels.
        arm: The arm that is asked about.
        control: The arm that it is compared with.
    """

    tasks: tuple[str, ...]
    fraction: float
    arm: str
    control: str


@dataclass(frozen=True, kw_only=True)
class StudyPlan:
    """The study.

    Attributes:
        encoder: Architecture of all arms but the image network.
        camera: Path of the virtual camera over unlabelled stills.
        arms: Arms by name.
        primary: The primary endpoint.
        tasks: Names of the tasks in the order of their worth.
        fractions: Fractions of the labels in the order of their worth.
        seeds: Seeds of initial weights, data order, views and of the choice of labels.
        finetune: Settings of fine-tuning by kind of task, as of ``endofm finetune``.
        resamples: Resamples of the bootstrap.
    """

    encoder: EncoderConfig
    camera: CameraConfig = field(default_factory=CameraConfig)
    arms: Mapping[str, Arm]
    primary: Primary
    tasks: tuple[str, ...] = tuple(TASKS)
    fractions: tuple[float, ...] = (0.2, 0.05, 1.0)
    seeds: tuple[int, ...] = (0, 1, 2)
    finetune: Mapping[Kind, Mapping[str, Any]]
    resamples: int = 1000

    def __post_init__(self) -> None:
        require_int(self, "resamples")
        for name, known in (("tasks", TASKS), ("fractions", None), ("seeds", None)):
            values = getattr(self, name)
            if not values or len(set(values)) < len(values):
                raise ConfigError(f"{name} must be different values, at least one, got {values!r}")
            if known is not None and not set(values) <= set(known):
                raise ConfigError(f"{name} must be of {', '.join(known)}, got {values!r}")
        if not all(0 < fraction <= 1 for fraction in self.fractions):
            raise ConfigError(f"fractions must be numbers in (0, 1], got {self.fractions!r}")
        primary = self.primary
        if not set(primary.tasks) <= set(self.tasks) or primary.fraction not in self.fractions:
            raise ConfigError("primary: its tasks and its fraction must be among those of the study")
        if not {primary.arm, primary.control} <= set(self.arms):
            raise ConfigError("primary: arm and control must be arms of the study")

    def cells(self) -> list[Cell]:
        """Return all cells in the order in which they are run: the primary endpoint first, a seed at a time."""
        primary = self.primary
        ordered = [
            Cell(task, primary.fraction, arm, seed)
            for seed in self.seeds
            for task in primary.tasks
            for arm in self.arms
        ]
        ordered += [
            Cell(task, fraction, arm, seed)
            for seed in self.seeds
            for fraction in self.fractions
            for task in self.tasks
            for arm in self.arms
        ]
        return list(dict.fromkeys(ordered))

    def digest(self, cell: Cell) -> str:
        """Return a short hash of every setting that the result of a cell depends on; its seed aside."""
        arm = self.arms[cell.arm]
        stages = [stage.settings() for stage in arm.stages]
        own = [stages, arm.transfer, arm.image_network, self.finetune[TASKS[cell.task].kind], cell.task, cell.fraction]
        return digest([*self.shared(), *own])

    def shared(self) -> list[Any]:
        """Return the settings that every pre-training depends on."""
        return [changed(self.encoder), changed(self.camera)]


def changed(values: Any) -> Any:
    """Return the settings that differ from their defaults as plain values.

    An option that a later release adds leaves them, and with them the results that are kept, as they are.
    """
    if not is_dataclass(values):
        return values
    plain = {}
    for each in fields(values):
        value = getattr(values, each.name)
        default = each.default_factory() if each.default_factory is not MISSING else each.default
        if each.name == "name" or value != default:
            plain[each.name] = changed(value)
    return plain


def digest(values: Any) -> str:
    """Return a short hash of plain values."""
    text = json.dumps(values, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
