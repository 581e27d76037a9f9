"""Endo-FM's objective as a task of the training loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from endofm.errors import ConfigError
from endofm.models.encoder import VideoTransformer
from endofm.training.engine.distributed import GatheredBatch
from endofm.training.engine.training_task import HealthRule, Plan, StepOutput
from endofm.training.objectives.ema import MovingAverage
from endofm.training.objectives.endofm.cross_view_loss import CrossViewLoss, mean_entropy, mutual_information
from endofm.training.objectives.endofm.endofm_config import EndoFMObjectiveConfig
from endofm.training.objectives.endofm.multicrop import MultiCropNetwork, MultiCropOutput
from endofm.training.objectives.endofm.projection_head import ProjectionHead
from endofm.training.objectives.endofm.published_state import load_training_state
from endofm.training.objectives.gradients import cancel_gradients, clip_each
from endofm.training.objectives.pretraining_task import ObjectiveParts, Start
from endofm.training.objectives.schedules import CosineSchedule, EpochWarmup
from endofm.training.objectives.self_supervised_task import SelfSupervisedTask
from endofm.training.objectives.sinkhorn import balanced_assignment
from endofm.training.views.view_crops import CropViews, ViewCrops
from endofm.training.views.view_draws import RandomSpan
from endofm.training.views.view_rendering import render_views

SINKHORN_ITERATIONS = 3
"""As in SwAV and DINOv2."""


class EndoFMTask(SelfSupervisedTask):
    """Trains a student to match its moving average across views.

    Args:
        config: The objective.
        encoder: Initial weights and architecture of both networks. The student gets a copy, with the objective's
            stochastic depth.

    Attributes:
        network: The student.
        teacher: The moving average; its backbone is the encoder that is exported.
        loss: The loss, with its centre.

    Raises:
        ConfigError: If the views do not fit the encoder.
    """

    config: EndoFMObjectiveConfig
    network: MultiCropNetwork
    export_from = ("teacher", "backbone.")

    def __init__(self, config: EndoFMObjectiveConfig, encoder: VideoTransformer) -> None:
        for name in ("global_size", "local_size"):
            size = getattr(config.views, name)
            if size % encoder.patch_size:
                raise ConfigError(f"views.{name} {size} is not a multiple of the patch size {encoder.patch_size}")
        super().__init__(config, encoder)
        self.network = _network(config, encoder, config.drop_path_rate)
        self.teacher = _network(config, encoder, config.drop_path_rate if config.teacher_drop_path else 0.0)
        self.teacher.load_state_dict(self.network.state_dict())
        self.teacher.requires_grad_(False)
        self.loss = CrossViewLoss(
            config.head.out_dim,
            teacher_views=len(config.views.global_frames),
            student_temp=config.student_temp,
            center_momentum=config.center_momentum,
        )
        self.helpers = {**self.helpers, "teacher": self.teacher, "loss": self.loss}

    @property
    def encoder(self) -> nn.Module:
        """The teacher's encoder."""
        return self.teacher.backbone

    def prepare(self, plan: Plan) -> None:
        """Build the schedules; see :meth:`PretrainingTask.prepare`."""
        super().prepare(plan)
        config = self.config
        self.momentum = CosineSchedule(config.teacher_momentum, 1.0, plan.total_steps)
        self.teacher_temp = EpochWarmup(
            config.warmup_teacher_temp, config.teacher_temp, config.warmup_teacher_temp_epochs
        )

    def make_optimizer(self) -> torch.optim.Optimizer:
        """Return the optimiser; both networks are on their device by now, so the average is set up as well."""
        self.average = MovingAverage(self.teacher, self.network)
        return super().make_optimizer()

    def schedule(self, optimizer: torch.optim.Optimizer, step: int) -> Mapping[str, float]:
        """Set learning rate and weight decay; return them with the teacher's momentum and temperature."""
        return {
            **super().schedule(optimizer, step),
            "teacher_momentum": self.momentum(step),
            "teacher_temp": self.teacher_temp(self.plan.epoch(step)),
        }

    def training_step(self, network: Callable[..., Any], batch: Any, step: int) -> StepOutput:
        """Compute the loss of a batch whose ``frames`` are view crops or rendered views."""
        views = self.views(batch.frames)
        seen = views[: self.loss.teacher_views]
        with torch.no_grad():
            teacher: MultiCropOutput = self.teacher(seen)
            targets = self.targets(teacher.logits, self.teacher_temp(self.plan.epoch(step)))
        student: MultiCropOutput = network(views)
        loss: Tensor = self.loss(student.logits, targets)
        # The centre moves after the step: as published, a batch is centred by the batches before it.
        self.loss.collect(teacher.logits)
        metrics: dict[str, Tensor | float] = {
            "teacher_entropy": mean_entropy(targets),
            "teacher_information": mutual_information(targets),
            "center_norm": self.loss.center.norm(),
        }
        if len(seen) > 1:
            metrics |= self.twins.add(*teacher.tokens.chunk(len(seen))[:2])
        loss, anchor = self.anchored(loss, seen, student.tokens[: len(teacher.tokens)])
        return StepOutput(loss, {**metrics, **anchor})

    def targets(self, teacher: Tensor, temperature: float) -> Tensor:
        """Return the target distributions of the student for the teacher's logits ``(rows, out_dim)``."""
        if self.config.centering == "running_mean":
            return self.loss.targets(teacher, temperature)
        # Prototypes are balanced over the batch of all processes, of which this one keeps its own rows.
        batch = GatheredBatch(len(teacher), teacher.device)
        assignment = balanced_assignment(batch.gather(teacher), temperature=temperature, iterations=SINKHORN_ITERATIONS)
        return assignment[batch.first : batch.first + len(teacher)]

    def views(self, frames: ViewCrops | Sequence[Tensor]) -> list[Tensor]:
        """Return the views of a batch, each ``(clips, 3, time, size, size)``; renders them if they are crops."""
        if isinstance(frames, ViewCrops):
            return render_views(frames, self.config.views)
        return list(frames)

    def after_backward(self, step: int) -> Mapping[str, Tensor | float]:
        """Clip every gradient by its own norm; freeze the prototypes in the first epochs."""
        norms = clip_each(self.network.parameters(), self.config.clip_gradient)
        if self.plan.epoch(step) < self.config.freeze_last_layer_epochs:
            cancel_gradients(self.network.named_parameters(), "last_layer")
        return {"largest_gradient": norms.max(), "clipped": (norms > self.config.clip_gradient).float().mean()}

    def after_step(self, step: int) -> None:
        """Update centre and teacher."""
        self.loss.update_center()
        self.average.update(self.momentum(step))

    def set_training(self, mode: bool) -> None:
        """Set both networks to training or evaluation mode."""
        self.network.train(mode)
        # The teacher too, as published; without teacher_drop_path its drop path rate is 0, so that it makes no
        # difference.
        self.teacher.train(mode)

    def health_rules(self) -> Sequence[HealthRule]:
        """Return the rule that detects a collapse: the teacher's output no longer depends on the clip."""
        return (
            HealthRule(
                metric="teacher_information",
                low=1e-4,
                after_steps=self.collapse_after_steps(),
                rows=10,
                meaning=(
                    "The teacher gives every clip the same output (collapse): its choice of prototypes carries no "
                    "information about the clip. Try a lower learning rate, a longer warm-up, a lower "
                    "teacher_temp, or a higher teacher_momentum."
                ),
            ),
        )


def build(config: EndoFMObjectiveConfig, start: Start) -> ObjectiveParts:
    """Return task, frame sampler and transform.

    Args:
        config: The objective.
        start: Initial state of the run.

    Raises:
        ConfigError: If the views do not fit the encoder.
        CheckpointFormatError: If the checkpoint to continue from has an unknown layout.
        StateDictError: If it belongs to another model.
    """
    task = EndoFMTask(config, start.make_encoder())
    if start.checkpoint is not None:
        load_training_state(start.checkpoint, task.network, task.teacher, task.loss)
    return ObjectiveParts(task=task, sampler=RandomSpan(config.views.span_seconds), transform=CropViews(config.views))


def _network(config: EndoFMObjectiveConfig, encoder: VideoTransformer, drop_path_rate: float) -> MultiCropNetwork:
    backbone = VideoTransformer(replace(encoder.encoder_config, drop_path_rate=drop_path_rate))
    backbone.load_state_dict(encoder.state_dict())
    return MultiCropNetwork(backbone, ProjectionHead(encoder.embed_dim, config.head))
