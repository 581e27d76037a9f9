"""What an objective of pre-training gives to the command that runs it, and what it gets.

Each objective has a configuration (a frozen dataclass with a field ``name``), and a function
``build(config, start) -> ObjectiveParts`` that :mod:`endofm.training.pretrain` finds by the configuration's class.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from torch import Tensor

from endofm.config import ModelConfig
from endofm.data.clip_dataset import Transform
from endofm.data.frame_samplers import FrameSampler
from endofm.models.encoder import VideoTransformer
from endofm.training.engine.task import RunSummary, TrainingTask, Weights

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class Start:
    """What a run begins with.

    Attributes:
        model: Architecture and preprocessing of the model that comes out in the end.
        encoder: Tensors of the encoder to begin with, None for random ones.
        checkpoint: Content of an original training checkpoint (``student``, ``teacher``, ``dino_loss``) whose head and
            centre are to be used as well; None if there is none.
    """

    model: ModelConfig
    encoder: Mapping[str, Tensor] | None = None
    checkpoint: Mapping[str, Any] | None = None

    def make_encoder(self, *, drop_path_rate: float = 0.0) -> VideoTransformer:
        """Return an encoder with the initial weights; random ones come from torch's generator, seeded before."""
        encoder = VideoTransformer(replace(self.model.encoder, drop_path_rate=drop_path_rate))
        if self.encoder is not None:
            encoder.load_state_dict(dict(self.encoder), strict=True)
        return encoder


class Watcher(Protocol):
    """Scores an encoder while it is trained; see :mod:`endofm.training.knn_watch`."""

    def __call__(self, encoder: nn.Module, epoch: int) -> Mapping[str, float]:
        """Return metrics by name."""
        ...


class Exporter(Protocol):
    """Writes an encoder as a model folder with its card; see :mod:`endofm.training.export`."""

    def __call__(self, folder: Path, encoder: Mapping[str, Tensor], summary: RunSummary) -> None:
        """Write the folder."""
        ...


class PretrainingTask(TrainingTask):
    """A task that leaves an encoder behind.

    Attributes:
        export_from: Part of the checkpoint (``"network"`` or a helper's name) and prefix of the names in it where the
            encoder lies that is exported, e.g. ``("teacher", "backbone.")``.
        watcher: Scores the encoder at validations; set by the command, None for no score.
        exporter: Writes the encoder at the end; set by the command.
    """

    export_from: tuple[str, str]
    watcher: Watcher | None = None
    exporter: Exporter | None = None

    @property
    @abstractmethod
    def encoder(self) -> nn.Module:
        """The encoder that is exported, as it is now: takes clips, returns class tokens ``(batch, embed_dim)``."""

    def validate(self, epoch: int) -> Mapping[str, float]:
        """Score the encoder, if there is something to score it on."""
        if self.watcher is None:
            return {}
        training = self.encoder.training
        self.encoder.eval()
        try:
            return self.watcher(self.encoder, epoch)
        finally:
            self.encoder.train(training)

    def export(self, folder: Path, weights: Weights, summary: RunSummary) -> None:
        """Write the encoder as a model folder."""
        if self.exporter is not None:
            part, prefix = self.export_from
            encoder = {
                name.removeprefix(prefix): tensor for name, tensor in weights[part].items() if name.startswith(prefix)
            }
            self.exporter(folder, encoder, summary)


@dataclass(frozen=True)
class ObjectiveParts:
    """An objective, ready to run.

    Attributes:
        task: What is trained. Metrics that it should report if it can: ``teacher_entropy``, ``center_norm`` and
            ``feature_std``, with :class:`~endofm.training.engine.task.HealthRule` for those whose bounds it knows.
        sampler: Which frames of a clip are read.
        transform: What is made of them before they are joined to a batch; ``batch.frames`` of
            :meth:`~endofm.training.engine.task.TrainingTask.training_step` holds the result.
    """

    task: PretrainingTask
    sampler: FrameSampler
    transform: Transform
