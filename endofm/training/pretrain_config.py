"""Settings of ``endofm pretrain``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from endofm.config import EncoderConfig, PreprocessConfig
from endofm.config.checks import require_int
from endofm.errors import ConfigError
from endofm.training.config import free
from endofm.training.objectives.distillation.config import EndoFMConfig, EndoFMFixedConfig
from endofm.training.objectives.vcl.config import VCLConfig
from endofm.training.run_config import RunConfig

Objective = EndoFMConfig | EndoFMFixedConfig | VCLConfig


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """The clips to train on.

    Attributes:
        clips: Prepared folders, manifests, lists, or folders of videos; labels are not used.
        shards: Folder of tar shards instead.
        clock: `file`: times are those of the files, in which every source plays at 30 frames per second, as in the
            original. `recording`: times are those of the recordings that the clips were cut from.
    """

    clips: tuple[str, ...] = ()
    shards: str | None = None
    clock: Literal["file", "recording"] = "file"


@dataclass(frozen=True, kw_only=True)
class InitConfig:
    """What the weights begin as.

    Attributes:
        source: Registered name, hub repository, model folder, `.safetensors` file or original `.pth` checkpoint whose
            encoder is the start; null for random weights. Of a model for a task the encoder is taken, if a whole one is
            in it.
        training_state: Take over student, teacher, projection head and centre of the original training checkpoint that
            `source` names, not its encoder alone.
    """

    source: str | None = None
    training_state: bool = False

    def __post_init__(self) -> None:
        if self.training_state and self.source is None:
            raise ConfigError("training_state is taken over from a training checkpoint; name its file in source")


@dataclass(frozen=True, kw_only=True)
class ModelPartConfig:
    """The model that comes out.

    Attributes:
        name: Title of the model in its card and configuration.
        license: Licence of the weights, as an identifier such as `cc-by-nc-4.0`.
        encoder: Architecture; null for that of the initial weights, or else the published one.
        preprocess: How frames become clips when the model is used; null for that of the initial weights, or else that
            of the encoder's size.
    """

    name: str = ""
    license: str = ""
    encoder: EncoderConfig | None = None
    preprocess: PreprocessConfig | None = None


@dataclass(frozen=True, kw_only=True)
class KnnConfig:
    """The watch over what the encoder has learnt: k nearest neighbours on labelled clips, left out of training.

    Attributes:
        clips: Labelled clips, as in `data.clips`; none for no watch. How often: `run.validate_every_epochs`.
        neighbours: Neighbours that vote; those of the same patient or recording never do.
        batch_size: Clips that are embedded at a time.
    """

    clips: tuple[str, ...] = free(())
    neighbours: int = free(20)
    batch_size: int = free(8)

    def __post_init__(self) -> None:
        require_int(self, "neighbours", "batch_size")


@dataclass(frozen=True, kw_only=True)
class PretrainConfig:
    """Everything that a pre-training run depends on.

    Attributes:
        objective: What is learnt: `endofm`, `endofm-fixed` or `vcl`.
        data: The clips.
        init: The initial weights.
        model: The model that comes out.
        knn: The watch over what is learnt.
        run: Length, devices, care.
    """

    objective: Objective = field(default_factory=EndoFMFixedConfig)
    data: DataConfig = field(default_factory=DataConfig)
    init: InitConfig = field(default_factory=InitConfig)
    model: ModelPartConfig = field(default_factory=ModelPartConfig)
    knn: KnnConfig = field(default_factory=KnnConfig)
    run: RunConfig = field(default_factory=RunConfig)

    def __post_init__(self) -> None:
        if bool(self.data.clips) == bool(self.data.shards):
            raise ConfigError(
                "name the clips to train on: data.clips=FOLDER (or a manifest, a list; several as [A, B]), or else "
                "data.shards=FOLDER"
            )
