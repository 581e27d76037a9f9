"""What the detection study consists of."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from endofm.config import EncoderConfig
from endofm.config.checks import require_int, require_number
from endofm.errors import ConfigError
from endofm.synthetic.set_plan import SetSettings
from endofm.synthetic.specs import RenderConfig
from endofm.training.config_schema import to_dict
from endofm.training.finetune.detection_config import DetectionConfig, DetectorData, DetectorEvaluation, DetectorStart
from endofm.training.finetune.learning_rate import ScheduleConfig
from endofm.training.finetune.optimizer_config import OptimizerConfig
from endofm.training.pretrain_config import DataConfig as ClipsConfig
from endofm.training.pretrain_config import Objective, PretrainConfig, PretrainModelConfig
from endofm.training.run_config import RunConfig
from endofm.training.transfer.head_only import FullTransfer
from endofm.training.transfer.methods import AnyTransfer

SIZES = tuple(sorted(path.stem for path in Path(__file__).parent.glob("*.yaml")))


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """Rendered clips; those to pre-train on and those with boxes are of different patients.

    Attributes:
        pretrain_clips: Clips without labels.
        pretrain_patients: Their patients.
        clips: Clips with boxes, in train, val and test by patient.
        patients: Their patients.
        width: Of the frames in pixels.
        height: Of the frames in pixels.
        frames: Frames per clip.
        fps: Frames per second.
        difficulty: See :class:`~endofm.synthetic.specs.RenderConfig`.
        seed: Seed of all of it; the set with boxes has the next one.
    """

    pretrain_clips: int
    pretrain_patients: int
    clips: int
    patients: int
    width: int = 128
    height: int = 96
    frames: int = 16
    fps: float = 10.0
    difficulty: float = 0.3
    seed: int = 0

    def sets(self) -> dict[str, SetSettings]:
        """Return what is rendered, by name of the folder."""

        def render(seed: int) -> RenderConfig:
            return RenderConfig(
                width=self.width,
                height=self.height,
                num_frames=self.frames,
                fps=self.fps,
                difficulty=self.difficulty,
                seed=seed,
            )

        return {
            "pretrain": SetSettings(
                task="pretrain",
                clips=self.pretrain_clips,
                patients=self.pretrain_patients,
                positive=0.5,
                render=render(self.seed),
            ),
            "boxes": SetSettings(
                task="detection",
                clips=self.clips,
                patients=self.patients,
                positive=0.8,
                render=render(self.seed + 1),
            ),
        }


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One way to a detector.

    Attributes:
        pretrain: How the encoder is pre-trained on the rendered clips; null for random weights.
        transfer: What learns on the boxes.
    """

    pretrain: Objective | None = None
    transfer: AnyTransfer = field(default_factory=FullTransfer)


@dataclass(frozen=True, kw_only=True)
class StudyConfig:
    """A comparison of backbones for detection.

    Attributes:
        data: Rendered clips.
        encoder: The network of all arms.
        size: Longer side of the detector's input in pixels.
        channels: Width of its pyramid and towers.
        tower_depth: Convolutions in each tower.
        pretrain_epochs: Passes of pre-training over the clips, the same for every objective.
        pretrain_batch: Clips per step of it.
        epochs: Passes of fine-tuning over the frames with boxes, the same for every arm.
        batch_size: Target frames per step of it.
        learning_rate: Peak of it, for the head; the encoder's is a tenth where it was pre-trained.
        every: Every n-th frame is a target, and is looked at in evaluation.
        seeds: Seeds of initial weights, order and views; each is a run of every arm.
        arms: Arms by the name they have in the table.
    """

    data: DataSettings
    encoder: EncoderConfig
    size: int
    channels: int = 64
    tower_depth: int = 2
    pretrain_epochs: int = 20
    pretrain_batch: int = 16
    epochs: int = 20
    batch_size: int = 4
    learning_rate: float = 1e-3
    every: int = 2
    seeds: tuple[int, ...] = (0, 1, 2)
    arms: Mapping[str, Arm]

    def __post_init__(self) -> None:
        require_int(self, "size", "channels", "tower_depth", "pretrain_epochs", "pretrain_batch", "epochs")
        require_int(self, "batch_size", "every")
        require_number(self, "learning_rate", low=0, open_low=True)
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ConfigError(f"StudyConfig.seeds must be different numbers, at least one, got {self.seeds!r}")
        if not self.arms:
            raise ConfigError("StudyConfig.arms must name at least one arm")

    def fingerprint(self, *parts: Any) -> str:
        """Return a short text that changes with the settings that the parts of a run depend on."""
        shared = [to_dict(self.data), to_dict(self.encoder), self.pretrain_epochs, self.pretrain_batch]
        text = json.dumps([*shared, *parts], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:8]

    def pretraining(self, objective: Objective, clips: Path, seed: int) -> PretrainConfig:
        """Return the settings of a pre-training run; the learning rate rises over its first tenth."""
        objective = replace(objective, warmup_epochs=self.pretrain_epochs // 10)
        return PretrainConfig(
            objective=objective,
            data=ClipsConfig(clips=(str(clips),)),
            model=PretrainModelConfig(name="study", encoder=self.encoder),
            run=RunConfig(
                epochs=self.pretrain_epochs,
                batch_size=self.pretrain_batch,
                accelerator="cpu",
                num_workers=0,
                seed=seed,
                checkpoint_every_epochs=max(self.pretrain_epochs // 5, 1),
                keep=1,
                loggers=("csv",),
                on_unhealthy="warn",
            ),
        )

    def fine_tuning(self, arm: Arm, boxes: Path, encoder: Path | None, seed: int) -> DetectionConfig:
        """Return the settings of a fine-tuning run.

        Args:
            arm: The arm.
            boxes: Rendered set.
            encoder: Model folder of the pre-trained encoder; None for random weights.
            seed: Seed of the run.
        """
        return DetectionConfig(
            model=DetectorStart(
                source=None if encoder is None else str(encoder),
                encoder=self.encoder if encoder is None else None,
                size=self.size,
                channels=self.channels,
                tower_depth=self.tower_depth,
                num_supports=4,
                support_reach=4,
                drop_path_rate=0.0,
                name="study",
            ),
            transfer=arm.transfer,
            data=DetectorData(root=str(boxes), train="train", validation="val", test="test", reach=4, every=self.every),
            optimizer=OptimizerConfig(
                learning_rate=self.learning_rate,
                weight_decay=1e-4,
                backbone_rate=1.0 if encoder is None else 0.1,
                clip_norm=5.0,
            ),
            schedule=ScheduleConfig(warmup_epochs=0.5),
            evaluation=DetectorEvaluation(every=self.every, batch_size=4, resamples=0, without_refinement=True),
            run=RunConfig(
                epochs=self.epochs,
                batch_size=self.batch_size,
                accelerator="cpu",
                num_workers=0,
                seed=seed,
                monitor="ap50_95",
                validate_every_epochs=max(self.epochs // 5, 1),
                keep=1,
                loggers=("csv",),
            ),
        )
