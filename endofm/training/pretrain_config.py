"""Settings of ``endofm pretrain``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from endofm.config import EncoderConfig, PreprocessConfig
from endofm.config.checks import require_int
from endofm.data.stills.virtual_camera import CameraConfig
from endofm.errors import ConfigError
from endofm.training.config_schema import resume_safe
from endofm.training.objectives.distill.distill_config import DistillConfig
from endofm.training.objectives.endofm.endofm_config import EndoFMFixedConfig, EndoFMPublishedConfig
from endofm.training.objectives.vcl.vcl_config import VCLConfig
from endofm.training.run_config import RunConfig

Objective = EndoFMPublishedConfig | EndoFMFixedConfig | VCLConfig | DistillConfig


@dataclass(frozen=True, kw_only=True)
class PretrainDataConfig:
    """Training clips.

    Attributes:
        clips: Prepared folders, manifests, lists, or folders of videos; labels are not used.
        stills: Folders or lists of stills, instead of or next to `clips`: each image becomes a clip of the virtual
            camera, on another path in every epoch. Stills of the subsets `val` and `test` are left out.
        camera: Path of the virtual camera over stills.
        shards: Folder of tar shards, instead of `clips` and `stills`.
        clock: `file`: times of the clip files, in which every source plays at 30 frames per second, as published.
            `recording`: times of the recordings from which the clips were cut.
        allow_missing: Leave out listed files that do not exist, rather than stop; the card says how many.
    """

    clips: tuple[str, ...] = ()
    stills: tuple[str, ...] = ()
    camera: CameraConfig = field(default_factory=CameraConfig)
    shards: str | None = None
    clock: Literal["file", "recording"] = "file"
    allow_missing: bool = False


@dataclass(frozen=True, kw_only=True)
class InitConfig:
    """Initial weights.

    Attributes:
        source: Registered name, hub repository, model folder, `.safetensors` file or published `.pth` checkpoint whose
            encoder is the start; null for random weights. A model for a task gives its encoder, if it has a complete
            one.
        training_state: Load student, teacher, projection head and centre of the published training checkpoint in
            `source`, not its encoder alone.
    """

    source: str | None = None
    training_state: bool = False

    def __post_init__(self) -> None:
        if self.training_state and self.source is None:
            raise ConfigError("training_state is loaded from a training checkpoint; name its file in source")


@dataclass(frozen=True, kw_only=True)
class PretrainModelConfig:
    """The resulting model.

    Attributes:
        name: Title of the model in its card and configuration.
        license: Licence of the weights, as an identifier such as `cc-by-nc-4.0`.
        encoder: Architecture; null for that of the initial weights, or without any, the published one.
        preprocess: Preprocessing of the model in inference; null for that of the initial weights, or without any, the
            default for the encoder's input size.
    """

    name: str = ""
    license: str = ""
    encoder: EncoderConfig | None = None
    preprocess: PreprocessConfig | None = None


@dataclass(frozen=True, kw_only=True)
class KnnConfig:
    """Evaluation during training: k nearest neighbours on labelled clips that are held out of training.

    Attributes:
        clips: Labelled clips, as in `data.clips`; empty for no evaluation. How often: `run.validate_every_epochs`.
        neighbours: Neighbours that vote; those of the same patient or recording are excluded.
        batch_size: Clips to embed at a time.
    """

    clips: tuple[str, ...] = resume_safe(())
    neighbours: int = resume_safe(20)
    batch_size: int = resume_safe(8)

    def __post_init__(self) -> None:
        require_int(self, "neighbours", "batch_size")


@dataclass(frozen=True, kw_only=True)
class PretrainConfig:
    """All settings of a pre-training run.

    Attributes:
        objective: Training objective: `endofm`, `endofm-fixed`, `vcl` or `distill`.
        data: Training clips.
        init: Initial weights.
        model: The resulting model.
        knn: Evaluation during training.
        run: Run settings: duration, devices, checkpointing, logging.
    """

    objective: Objective = field(default_factory=EndoFMFixedConfig)
    data: PretrainDataConfig = field(default_factory=PretrainDataConfig)
    init: InitConfig = field(default_factory=InitConfig)
    model: PretrainModelConfig = field(default_factory=PretrainModelConfig)
    knn: KnnConfig = field(default_factory=KnnConfig)
    run: RunConfig = field(default_factory=RunConfig)

    def __post_init__(self) -> None:
        if bool(self.data.clips or self.data.stills) == bool(self.data.shards):
            raise ConfigError(
                "name the clips to train on: data.clips=FOLDER (or a manifest, a list; several as [A, B]), "
                "data.stills=FOLDER for stills, or else data.shards=FOLDER"
            )
        if self.data.shards and isinstance(self.objective, DistillConfig):
            raise ConfigError("a distillation keeps its pictures in memory; name them in data.clips, not data.shards")
