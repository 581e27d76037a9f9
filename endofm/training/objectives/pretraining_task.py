"""Interface between a pre-training objective and the command that runs it.

Each objective has a configuration (a frozen dataclass with a field ``name`` that extends
:class:`~endofm.training.objectives.objective_config.ObjectiveConfig`), a task that extends :class:`PretrainingTask`,
and a function ``build(config, start) -> ObjectiveParts`` that :mod:`endofm.training.pretrain` selects by the class of
the configuration.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from endofm.config import ModelConfig
from endofm.data.clip_dataset import Transform
from endofm.data.frame_samplers import FrameSampler
from endofm.errors import ConfigError
from endofm.models.encoder import VideoTransformer
from endofm.training.engine.training_task import Plan, RunSummary, TrainingTask, Weights
from endofm.training.objectives.objective_config import ObjectiveConfig
from endofm.training.objectives.schedules import CosineSchedule
from endofm.training.parameter_groups import split_by_decay

if TYPE_CHECKING:
    from torch import nn

REFERENCE_BATCH_SIZE = 256
"""Clips per step for which ``learning_rate`` is stated."""


@dataclass(frozen=True, kw_only=True)
class Start:
    """Initial state of a run.

    Attributes:
        model: Architecture and preprocessing of the model to be trained.
        encoder: Initial tensors of the encoder, None for random ones.
        checkpoint: Content of a published training checkpoint (``student``, ``teacher``, ``dino_loss``) whose head and
            centre are used as well; None without one.
    """

    model: ModelConfig
    encoder: Mapping[str, Tensor] | None = None
    checkpoint: Mapping[str, Any] | None = None

    def make_encoder(self, *, drop_path_rate: float = 0.0) -> VideoTransformer:
        """Return an encoder with the initial weights; random ones come from torch's generator, to be seeded before."""
        encoder = VideoTransformer(replace(self.model.transformer, drop_path_rate=drop_path_rate))
        if self.encoder is not None:
            encoder.load_state_dict(dict(self.encoder), strict=True)
        return encoder


class EncoderEvaluator(Protocol):
    """Scores an encoder during training; see :mod:`endofm.training.knn_evaluator`."""

    def __call__(self, encoder: nn.Module, epoch: int) -> Mapping[str, float]:
        """Return metrics by name."""
        ...


class Exporter(Protocol):
    """Writes an encoder as a model folder with its card; see :mod:`endofm.training.encoder_export`."""

    def __call__(self, folder: Path, encoder: Mapping[str, Tensor], summary: RunSummary) -> None:
        """Write the folder."""
        ...


class PretrainingTask(TrainingTask):
    """Base of the objectives: one optimizer recipe, validation and export of the encoder.

    Attributes:
        config: Settings of the objective.
        export_from: Location of the encoder in a checkpoint: its part (``"network"`` or the name of a helper) and the
            prefix of its tensors, e.g. ``("teacher", "backbone.")``.
        evaluator: Scores the encoder at validations; set by the command, None for no score.
        exporter: Writes the encoder at the end; set by the command.
    """

    config: ObjectiveConfig
    export_from: tuple[str, str]
    evaluator: EncoderEvaluator | None = None
    exporter: Exporter | None = None

    @property
    @abstractmethod
    def encoder(self) -> nn.Module:
        """The encoder to export, in its current state: maps clips to class tokens ``(batch, embed_dim)``."""

    def prepare(self, plan: Plan) -> None:
        """Build the schedules of learning rate and weight decay.

        Raises:
            ConfigError: If the warm-up is longer than the run.
        """
        super().prepare(plan)
        config, steps = self.config, plan.total_steps
        warmup = config.warmup_epochs * plan.steps_per_epoch
        if warmup > steps:
            raise ConfigError(
                f"objective.warmup_epochs {config.warmup_epochs} is longer than the run of {plan.epochs} epochs; "
                "about a tenth of a run is usual"
            )
        # Linear scaling rule (arXiv 1706.02677): k times the batch size, k times the learning rate. As published, the
        # final learning rate is not scaled.
        peak = config.learning_rate * plan.batch_size / REFERENCE_BATCH_SIZE
        self.learning_rate = CosineSchedule(peak, config.final_learning_rate, steps, warmup)
        self.weight_decay = CosineSchedule(config.weight_decay, config.final_weight_decay, steps)

    def make_optimizer(self) -> torch.optim.Optimizer:
        """Return AdamW with two parameter groups; weight decay acts on the first one alone."""
        groups = split_by_decay(self.network, decay_embeddings=self.config.decay_embeddings)
        parameters = dict(self.network.named_parameters())
        return torch.optim.AdamW(
            [{"params": [parameters[name] for name in names]} for names in groups],
            lr=0.0,  # learning rate and weight decay are set in every step, by schedule()
            betas=(0.9, 0.999),
            eps=1e-8,
            weight_decay=0.0,
            fused=True,
        )

    def schedule(self, optimizer: torch.optim.Optimizer, step: int) -> Mapping[str, float]:
        """Set learning rate and weight decay, the latter of the first group alone."""
        values = {"learning_rate": self.learning_rate(step), "weight_decay": self.weight_decay(step)}
        for group in optimizer.param_groups:
            group["lr"] = values["learning_rate"]
        optimizer.param_groups[0]["weight_decay"] = values["weight_decay"]
        return values

    def validate(self, epoch: int) -> Mapping[str, float]:
        """Score the encoder, if there is an evaluator."""
        if self.evaluator is None:
            return {}
        training = self.encoder.training
        self.encoder.eval()
        try:
            return self.evaluator(self.encoder, epoch)
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

    def collapse_after_steps(self) -> int:
        """Return the steps before a collapse is looked for: networks with random weights begin close to one."""
        return max(self.plan.total_steps // 10, 200)


@dataclass(frozen=True)
class ObjectiveParts:
    """An objective, ready to run.

    Attributes:
        task: The task. Metrics that it should report where it can: ``teacher_entropy``, ``center_norm`` and
            ``feature_std``, with a :class:`~endofm.training.engine.training_task.HealthRule` for those whose healthy
            range it knows.
        sampler: Selects the frames of a clip that are read.
        transform: Applied to them before batching; its result becomes ``batch.frames`` of
            :meth:`~endofm.training.engine.training_task.TrainingTask.training_step`.
    """

    task: PretrainingTask
    sampler: FrameSampler
    transform: Transform
