"""Endo-FM's objective as a task of the training loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from endofm.errors import ConfigError
from endofm.models.encoder import VideoTransformer
from endofm.training.engine.task import HealthRule, Plan, StepOutput
from endofm.training.objectives.collective import Batch
from endofm.training.objectives.distillation.config import DistillationConfig
from endofm.training.objectives.distillation.head import ProjectionHead
from endofm.training.objectives.distillation.loss import CrossViewLoss, mean_entropy, mutual_information
from endofm.training.objectives.distillation.multicrop import MultiCropNetwork
from endofm.training.objectives.ema import MovingAverage
from endofm.training.objectives.gradients import cancel_gradients, clip_each
from endofm.training.objectives.interface import PretrainingTask
from endofm.training.objectives.parameter_groups import split_by_decay
from endofm.training.objectives.schedules import CosineSchedule, WarmupTable
from endofm.training.objectives.sinkhorn import balanced_assignment
from endofm.training.views.crops import ViewCrops
from endofm.training.views.render import render_views

CLIPS_OF_LEARNING_RATE = 256
"""Clips per step that ``learning_rate`` is stated for."""

SINKHORN_ITERATIONS = 3
"""As in SwAV and DINOv2."""


class DistillationTask(PretrainingTask):
    """Trains a student to match its running average across views.

    Args:
        config: The objective.
        encoder: Initial weights and architecture of both networks. The student gets a copy, with the objective's
            stochastic depth.

    Attributes:
        network: The student.
        teacher: The running average; its backbone is what a run is for.
        loss: The loss with its centre.

    Raises:
        ConfigError: If the views do not fit the encoder.
    """

    network: MultiCropNetwork
    export_from = ("teacher", "backbone.")

    def __init__(self, config: DistillationConfig, encoder: VideoTransformer) -> None:
        for name in ("global_size", "local_size"):
            size = getattr(config.views, name)
            if size % encoder.patch_size:
                raise ConfigError(f"views.{name} {size} is not a multiple of the patch size {encoder.patch_size}")
        self.config = config
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
        self.helpers = {"teacher": self.teacher, "loss": self.loss}

    @property
    def encoder(self) -> nn.Module:
        """The teacher's encoder."""
        return self.teacher.backbone

    def prepare(self, plan: Plan) -> None:
        """Lay out the schedules.

        Raises:
            ConfigError: If the warm-up is longer than the run.
        """
        super().prepare(plan)
        c, steps = self.config, plan.total_steps
        warmup = c.warmup_epochs * plan.steps_per_epoch
        if warmup > steps:
            raise ConfigError(
                f"objective.warmup_epochs {c.warmup_epochs} is longer than the run of {plan.epochs} epochs; "
                "about a tenth of a run is usual"
            )
        peak = c.learning_rate * plan.batch_size / CLIPS_OF_LEARNING_RATE
        self.learning_rate = CosineSchedule(peak, c.final_learning_rate, steps, warmup)
        self.weight_decay = CosineSchedule(c.weight_decay, c.final_weight_decay, steps)
        self.momentum = CosineSchedule(c.teacher_momentum, 1.0, steps)
        self.teacher_temp = WarmupTable(c.warmup_teacher_temp, c.teacher_temp, c.warmup_teacher_temp_epochs)

    def make_optimizer(self) -> torch.optim.Optimizer:
        """Return AdamW with two groups, of which the first is decayed."""
        self.average = MovingAverage(self.teacher, self.network)
        groups = split_by_decay(self.network, decay_embeddings=self.config.decay_embeddings)
        parameters = dict(self.network.named_parameters())
        return torch.optim.AdamW(
            [
                {"params": [parameters[name] for name in groups.decayed]},
                {"params": [parameters[name] for name in groups.kept]},
            ],
            lr=0.0,
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
        return {
            **values,
            "teacher_momentum": self.momentum(step),
            "teacher_temp": self.teacher_temp(self.plan.epoch(step)),
        }

    def training_step(self, network: Callable[..., Any], batch: Any, step: int) -> StepOutput:
        """Compute the loss of a batch whose ``frames`` are cut-out or finished views."""
        views = self.views(batch.frames)
        with torch.no_grad():
            teacher: Tensor = self.teacher(views[: self.loss.teacher_views])
            targets = self.targets(teacher, self.teacher_temp(self.plan.epoch(step)))
        loss: Tensor = self.loss(network(views), targets)
        self.loss.collect(teacher)
        metrics = {
            "teacher_entropy": mean_entropy(targets),
            "teacher_information": mutual_information(targets),
            "center_norm": self.loss.center.norm(),
        }
        return StepOutput(loss, metrics)

    def targets(self, teacher: Tensor, temperature: float) -> Tensor:
        """Return the distributions that the student is to match, for the teacher's logits ``(rows, out_dim)``."""
        if self.config.centering == "running_mean":
            return self.loss.targets(teacher, temperature)
        rows = Batch(len(teacher), teacher.device)
        every = balanced_assignment(rows.gather(teacher), temperature=temperature, iterations=SINKHORN_ITERATIONS)
        return every[rows.first : rows.first + len(teacher)]

    def views(self, frames: ViewCrops | Sequence[Tensor]) -> list[Tensor]:
        """Return the views of a batch, each ``(clips, 3, time, size, size)``; finishes them if they are cut-outs."""
        if isinstance(frames, ViewCrops):
            return render_views(frames, self.config.views)
        return list(frames)

    def after_backward(self, step: int) -> Mapping[str, Tensor | float]:
        """Limit every gradient by itself; leave the prototypes alone in the first epochs."""
        norms = clip_each(self.network.parameters(), self.config.clip_gradient)
        if self.plan.epoch(step) < self.config.freeze_last_layer_epochs:
            cancel_gradients(self.network.named_parameters(), "last_layer")
        return {"largest_gradient": norms.max(), "clipped": (norms > self.config.clip_gradient).float().mean()}

    def after_step(self, step: int) -> None:
        """Let centre and teacher follow."""
        self.loss.update_center()
        self.average.update(self.momentum(step))

    def set_training(self, mode: bool) -> None:
        """Put both networks in training or evaluation mode; it is the teacher's drop path rate that differs."""
        self.network.train(mode)
        self.teacher.train(mode)

    def health_rules(self) -> Sequence[HealthRule]:
        """Return the rule that tells a collapse: the teacher's output no longer depends on the clip."""
        return (
            HealthRule(
                metric="teacher_information",
                low=1e-4,
                after_steps=max(self.plan.total_steps // 10, 200),
                rows=10,
                meaning=(
                    "The teacher gives every clip the same output (collapse): whichever clip it sees tells nothing "
                    "about its choice of prototypes. Try a lower learning rate, a longer warm-up, a lower "
                    "teacher_temp, or a higher teacher_momentum."
                ),
            ),
        )


def _network(config: DistillationConfig, encoder: VideoTransformer, drop_path_rate: float) -> MultiCropNetwork:
    backbone = VideoTransformer(replace(encoder.encoder_config, drop_path_rate=drop_path_rate))
    backbone.load_state_dict(encoder.state_dict())
    return MultiCropNetwork(backbone, ProjectionHead(encoder.embed_dim, config.head))
