"""What a study consists of."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from endofm.config import EncoderConfig, ModelConfig, PreprocessConfig
from endofm.config.checks import require_int, require_number
from endofm.errors import ConfigError
from endofm.synthetic.set_plan import SetSettings
from endofm.synthetic.specs import RenderConfig
from endofm.training.config_schema import to_dict
from endofm.training.objectives.endofm.endofm_config import EndoFMFixedConfig, EndoFMPublishedConfig
from endofm.training.objectives.vcl.vcl_config import VCLConfig
from endofm.training.run_config import Precision

SIZES = tuple(sorted(path.stem for path in Path(__file__).parent.glob("*.yaml")))

Objective = VCLConfig | EndoFMPublishedConfig | EndoFMFixedConfig

PIXELS, SCRATCH = "pixels", "scratch"
"""Arms that are not trained: thumbnails of the clips, and the network with its initial weights."""


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """Rendered clips; those to pre-train on and those with labels are of different patients.

    Attributes:
        pretrain_clips: Clips without labels.
        pretrain_patients: Their patients.
        labelled_clips: Clips with labels, half of them with a polyp in view.
        labelled_patients: Their patients; folds of the evaluation keep them whole.
        size: Side of the frames in pixels.
        frames: Frames per clip.
        fps: Frames per second.
        difficulty: See :class:`~endofm.synthetic.specs.RenderConfig`.
        seed: Seed of all of it; the labelled set has the next one.
    """

    pretrain_clips: int
    pretrain_patients: int
    labelled_clips: int
    labelled_patients: int
    size: int = 64
    frames: int = 16
    fps: float = 10.0
    difficulty: float = 0.3
    seed: int = 0

    def sets(self) -> dict[str, SetSettings]:
        """Return what is rendered, by name of the folder."""
        numbers = {
            "pretrain": (self.pretrain_clips, self.pretrain_patients, self.seed),
            "labelled": (self.labelled_clips, self.labelled_patients, self.seed + 1),
        }
        return {
            name: SetSettings(
                task="pretrain" if name == "pretrain" else "classification",
                clips=clips,
                patients=patients,
                positive=0.5,
                render=RenderConfig(
                    width=self.size,
                    height=self.size,
                    num_frames=self.frames,
                    fps=self.fps,
                    difficulty=self.difficulty,
                    seed=seed,
                ),
            )
            for name, (clips, patients, seed) in numbers.items()
        }


@dataclass(frozen=True, kw_only=True)
class EvaluationSettings:
    """How frozen features are scored: by patient-wise cross-validation over the labelled clips.

    Attributes:
        folds: Folds.
        repeats: Deals into folds whose scores are averaged.
        k: Neighbours that vote in k-NN.
    """

    folds: int = 5
    repeats: int = 3
    k: int = 10

    def __post_init__(self) -> None:
        require_int(self, "folds", low=2)
        require_int(self, "repeats", "k")


@dataclass(frozen=True, kw_only=True)
class StudyConfig:
    """A comparison of objectives.

    Attributes:
        data: Rendered clips.
        encoder: The network that all objectives train.
        crop_size: Side of the clips that features are computed of, in pixels.
        num_frames: Frames of these clips.
        budget_tflop: Floating-point operations that each arm may train for, in 10^12; see ``budget.py``.
        batch_size: Clips per step.
        precision: Of training, see :class:`~endofm.training.run_config.RunConfig`; features are computed in float32.
        warmup_share: Part of the run in which the learning rate rises.
        seeds: Seeds of initial weights, order and views; each is a run of every arm.
        arms: Objective of each arm by the name it has in the table.
        evaluation: How features are scored.
    """

    data: DataSettings
    encoder: EncoderConfig
    crop_size: int
    num_frames: int
    budget_tflop: float
    batch_size: int = 16
    precision: Precision = "32-true"
    warmup_share: float = 0.1
    seeds: tuple[int, ...] = (0, 1, 2)
    arms: Mapping[str, Objective]
    evaluation: EvaluationSettings = field(default_factory=EvaluationSettings)

    def __post_init__(self) -> None:
        require_int(self, "crop_size", "num_frames")
        require_int(self, "batch_size", low=2)
        require_number(self, "budget_tflop", low=0, open_low=True)
        require_number(self, "warmup_share", low=0, high=1)
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ConfigError(f"StudyConfig.seeds must be different numbers, at least one, got {self.seeds!r}")
        for name in (PIXELS, SCRATCH):
            if name in self.arms:
                raise ConfigError(f"the arm {name!r} is not trained and always there; give yours another name")

    def names(self) -> list[str]:
        """Return the names of all arms in the order of the table."""
        return [PIXELS, SCRATCH, *self.arms]

    def cells(self) -> list[tuple[str, int]]:
        """Return arm and seed of every run; thumbnails know no seed."""
        return [(PIXELS, self.seeds[0]), *((arm, seed) for seed in self.seeds for arm in [SCRATCH, *self.arms])]

    def model(self) -> ModelConfig:
        """Return the model that every arm begins with."""
        preprocess = PreprocessConfig(
            num_frames=self.num_frames, short_side=self.crop_size, crop_size=self.crop_size, window_seconds=10.0
        )
        return ModelConfig(encoder=self.encoder, preprocess=preprocess)

    def objective(self, arm: str, epochs: int) -> Objective:
        """Return the objective of an arm for a run of so many epochs."""
        return replace(self.arms[arm], warmup_epochs=round(self.warmup_share * epochs))

    def fingerprint(self, arm: str) -> str:
        """Return a digest of all that a run of this arm depends on beside its seed."""
        values: dict[str, Any] = to_dict(self)
        objective = values.pop("arms").get(arm)
        del values["seeds"]
        text = json.dumps({**values, "objective": objective}, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]
