"""Plan of a rendered set: patient, polyp and subset of each clip."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

import numpy as np

from endofm.errors import ConfigError
from endofm.synthetic.specs import RenderConfig

Task = Literal["pretrain", "classification", "segmentation", "detection"]
Split = Literal["train", "val", "test"]

TASKS: tuple[Task, ...] = get_args(Task)
SPLITS: tuple[Split, ...] = get_args(Split)

POSITIVE: dict[Task, float] = {"pretrain": 0.5, "classification": 0.5, "segmentation": 1.0, "detection": 0.8}
"""Default fraction of clips with a polyp. Every frame of CVC-12k shows one; KUMC has frames without."""

_SPLIT_DRAW, _POLYP_DRAW = 103, 104


@dataclass(frozen=True, kw_only=True)
class SetSettings:
    """Settings of a rendered set.

    Attributes:
        task: Task whose layout is written.
        clips: Number of clips.
        patients: Number of patients; clip ``i`` is of patient ``i % patients``.
        positive: Fraction of clips in which a polyp is in view.
        split: Fractions of patients in train, val and test; they sum to 1. Pre-training has one list and no subsets.
        published_layout: Segmentation only: TIFF files as in CVC-ClinicDB, rather than folders of PNG files with a CSV.
        render: Size, length, difficulty and seed of the clips.
    """

    task: Task
    clips: int
    patients: int
    positive: float
    split: tuple[float, float, float] = (0.6, 0.2, 0.2)
    published_layout: bool = True
    render: RenderConfig = field(default_factory=RenderConfig)

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise ConfigError(f"unknown task {self.task!r}; choose one of {', '.join(TASKS)}")
        for name in ("clips", "patients"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ConfigError(f"{name} must be an integer >= 1, got {value!r}")
        if not 0 <= self.positive <= 1:
            raise ConfigError(f"the fraction of clips with a polyp must be between 0 and 1, got {self.positive!r}")
        if len(self.split) != 3 or min(self.split) < 0 or abs(sum(self.split) - 1) > 1e-6:
            raise ConfigError(f"the fractions of train, val and test must be >= 0 and sum to 1, got {self.split!r}")
        if self.clips < self.patients:
            raise ConfigError(f"{self.patients} patients need at least as many clips, got {self.clips}")
        subsets = sum(fraction > 0 for fraction in self.split)
        if self.task != "pretrain" and self.patients < subsets:
            raise ConfigError(
                f"{self.patients} patients cannot be split into {subsets} subsets without sharing a patient; choose "
                f"more patients, or fewer subsets (a fraction of 0 leaves one out)"
            )

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {**asdict(self), "split": list(self.split)}


@dataclass(frozen=True)
class PlannedClip:
    """One clip of a set, before it is rendered.

    Attributes:
        index: Number of the clip.
        patient: Number of its patient.
        has_polyp: Whether a polyp is in view.
        split: Subset of its patient.
    """

    index: int
    patient: int
    has_polyp: bool
    split: Split


def default_patients(clips: int) -> int:
    """Return the default number of patients of a set: one per eight clips, 5 to 60."""
    return min(max(clips // 8, 5), 60, clips)


def plan_set(settings: SetSettings) -> list[PlannedClip]:
    """Return the clips of a set. A longer set begins with the clips of a shorter one of equal settings."""
    split = split_patients(settings)
    rng = np.random.default_rng([settings.render.seed, _POLYP_DRAW])
    # Like Bresenham's line: a clip shows a polyp when the running total of the fraction passes an integer. The totals
    # start at different phases, so that the fraction holds within each patient and over all of them.
    phase = (rng.permutation(settings.patients) + 0.5) / settings.patients
    clips = []
    for index in range(settings.clips):
        number, patient = divmod(index, settings.patients)
        before, after = (int(np.floor((number + k) * settings.positive + phase[patient])) for k in (0, 1))
        clips.append(PlannedClip(index, patient, after > before, split[patient]))
    return clips


def split_patients(settings: SetSettings) -> list[Split]:
    """Return the subset of each patient; every requested subset has at least one."""
    if settings.task == "pretrain":
        return ["train"] * settings.patients
    order = np.random.default_rng([settings.render.seed, _SPLIT_DRAW]).permutation(settings.patients)
    fractions = np.array(settings.split)
    counts = np.where(fractions > 0, np.maximum(np.floor(fractions * settings.patients), 1), 0).astype(int)
    # The minimum of one may exceed the total, and rounding down may miss it.
    while counts.sum() > settings.patients:
        counts[int(np.argmax(counts))] -= 1
    while counts.sum() < settings.patients:
        counts[int(np.argmax(fractions * settings.patients - counts))] += 1
    result: list[Split] = ["train"] * settings.patients
    names = [name for name, count in zip(SPLITS, counts, strict=True) for _ in range(count)]
    for patient, name in zip(order, names, strict=True):
        result[int(patient)] = name
    return result
