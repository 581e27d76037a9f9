"""What a study consists of."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from endofm.config import EncoderConfig
from endofm.config.checks import require_int
from endofm.errors import ConfigError
from endofm.synthetic.set_plan import SetSettings
from endofm.synthetic.specs import RenderConfig
from endofm.training.config_files import load_config
from endofm.training.config_schema import to_dict
from endofm.training.finetune.segmentation_config import SegmentationConfig
from endofm.training.objectives.endofm.endofm_config import EndoFMFixedConfig, EndoFMPublishedConfig
from endofm.training.objectives.vcl.vcl_config import VCLConfig

SIZES = tuple(sorted(path.stem for path in Path(__file__).parent.glob("*.yaml")))

Objective = VCLConfig | EndoFMPublishedConfig | EndoFMFixedConfig


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """Rendered clips; those to pre-train on and those with masks are of different patients.

    Attributes:
        pretrain_clips: Clips without masks.
        pretrain_patients: Their patients.
        clips: Clips with masks; a fifth of the patients each is held out for validation and for test.
        patients: Their patients.
        size: Side of the frames in pixels.
        frames: Frames per clip.
        difficulty: See :class:`~endofm.synthetic.specs.RenderConfig`.
        seed: Seed of all of it; the set with masks has the next one.
    """

    pretrain_clips: int
    pretrain_patients: int
    clips: int
    patients: int
    size: int = 96
    frames: int = 16
    difficulty: float = 0.3
    seed: int = 0

    def sets(self) -> dict[str, SetSettings]:
        """Return what is rendered, by name of the folder."""

        def render(seed: int) -> RenderConfig:
            return RenderConfig(
                width=self.size,
                height=self.size,
                num_frames=self.frames,
                fps=10.0,
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
            "masks": SetSettings(
                task="segmentation",
                clips=self.clips,
                patients=self.patients,
                positive=1.0,
                original_layout=False,
                split=(0.6, 0.2, 0.2),
                render=render(self.seed + 1),
            ),
        }


@dataclass(frozen=True, kw_only=True)
class ArmSettings:
    """A start and a way to go on from it.

    Attributes:
        start: `scratch`, or the name of an objective: the encoder that the study pre-trains by it.
        source: Weights to start from instead: a registered name, a model folder, a file.
        network: `hybrid` or `light`.
        transfer: What learns.
        frames_only: Take the encoder's blocks without their attention over time.
    """

    start: str = "scratch"
    source: str | None = None
    network: Literal["hybrid", "light"] = "hybrid"
    transfer: Literal["full", "linear", "st-adapter", "lora"] = "full"
    frames_only: bool = False


@dataclass(frozen=True, kw_only=True)
class StudyConfig:
    """A comparison of starts.

    Attributes:
        data: Rendered clips.
        encoder: The network that all objectives train.
        objectives: How encoders are pre-trained, by name.
        pretrain: Settings of these runs, as under `run` of `endofm pretrain`.
        finetune: Settings that all arms share, as of `endofm finetune segmentation`, without start and transfer.
        steps: Optimisation steps of every arm.
        seeds: Seeds of initial weights, order and views; each is a run of every arm.
        arms: The arms by the name they have in the table.
    """

    data: DataSettings
    encoder: EncoderConfig
    objectives: Mapping[str, Objective]
    pretrain: Mapping[str, Any]
    finetune: Mapping[str, Any]
    steps: int
    seeds: tuple[int, ...] = (0, 1, 2)
    arms: Mapping[str, ArmSettings]

    def __post_init__(self) -> None:
        require_int(self, "steps")
        for name, arm in self.arms.items():
            if arm.start != "scratch" and arm.start not in self.objectives:
                known = ", ".join(["scratch", *self.objectives])
                raise ConfigError(f"arm {name!r} starts from {arm.start!r}; there are {known}")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ConfigError(f"seeds must be different numbers, at least one, got {self.seeds!r}")

    def objectives_needed(self) -> list[str]:
        """Return the objectives whose encoders some arm starts from."""
        used = {arm.start for arm in self.arms.values() if arm.source is None}
        return [name for name in self.objectives if name in used]

    def fine_tuning(self, arm: str, seed: int, root: Path, source: str | None) -> SegmentationConfig:
        """Return the settings of one run."""
        how = self.arms[arm]
        values: dict[str, Any] = json.loads(json.dumps(self.finetune))
        values["model"] = {
            **values.get("model", {}),
            "network": how.network,
            "frames_only": how.frames_only,
            **({"source": source} if source else {"encoder": to_dict(self.encoder)}),
        }
        values["transfer"] = how.transfer
        values["data"] = {**values.get("data", {}), "train": [str(root / "masks")]}
        values["run"] = {**values.get("run", {}), "max_steps": self.steps, "seed": seed}
        return load_config(SegmentationConfig, values)

    def fingerprint(self, arm: str) -> str:
        """Return a digest of all that a run of this arm depends on beside its seed."""
        values: dict[str, Any] = to_dict(self)
        del values["seeds"]
        how = values.pop("arms")[arm]
        objective = values.pop("objectives").get(how["start"])
        text = json.dumps({**values, "arm": how, "objective": objective}, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]
