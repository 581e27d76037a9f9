"""VCL as a task of the training loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from endofm.errors import ConfigError
from endofm.models.encoder import VideoTransformer
from endofm.training.engine.task import HealthRule, Plan, StepOutput
from endofm.training.objectives.gradients import cancel_gradients, clip_each
from endofm.training.objectives.interface import ObjectiveParts, PretrainingTask, Start
from endofm.training.objectives.parameter_groups import split_by_decay
from endofm.training.objectives.schedules import CosineSchedule
from endofm.training.objectives.vcl.config import VCLConfig
from endofm.training.objectives.vcl.model import VCLModel, VCLOutput
from endofm.training.objectives.vcl.views import CutVCLViews, TwoHalves, render_vcl_views

CLIPS_OF_LEARNING_RATE = 256
"""Clips per step that ``learning_rate`` is stated for."""


class VCLTask(PretrainingTask):
    """Trains an encoder by contrast of whole clips, concepts and local features.

    Args:
        config: The objective.
        encoder: The encoder that is trained.

    Raises:
        ConfigError: If the crops do not fit the encoder.
    """

    network: VCLModel
    export_from = ("network", "backbone.")

    def __init__(self, config: VCLConfig, encoder: VideoTransformer) -> None:
        self.config = config
        self.network = VCLModel(encoder, config)

    @property
    def encoder(self) -> nn.Module:
        """The encoder that is trained; heads and concepts are left behind."""
        return self.network.backbone

    def prepare(self, plan: Plan) -> None:
        """Lay out the schedules.

        Raises:
            ConfigError: If the warm-up is longer than the run, or a process has a single clip per batch.
        """
        super().prepare(plan)
        c, steps = self.config, plan.total_steps
        warmup = c.warmup_epochs * plan.steps_per_epoch
        if warmup > steps:
            raise ConfigError(
                f"objective.warmup_epochs {c.warmup_epochs} is longer than the run of {plan.epochs} epochs; "
                "about a tenth of a run is usual"
            )
        if plan.batch_size < 2:
            raise ConfigError(
                "VCL contrasts the videos of a batch with each other and needs at least 2 of them; "
                f"run.batch_size is {plan.batch_size}"
            )
        peak = c.learning_rate * plan.batch_size / CLIPS_OF_LEARNING_RATE
        self.learning_rate = CosineSchedule(peak, c.final_learning_rate, steps, warmup)
        self.weight_decay = CosineSchedule(c.weight_decay, c.final_weight_decay, steps)
        self.local_start = c.local_start(plan.epochs)

    def make_optimizer(self) -> torch.optim.Optimizer:
        """Return AdamW with two groups, of which the first is decayed."""
        groups = split_by_decay(self.network, decay_embeddings=self.config.decay_embeddings)
        parameters = dict(self.network.named_parameters())
        return torch.optim.AdamW(
            [{"params": [parameters[name] for name in names]} for names in groups],
            lr=0.0,
            betas=(0.9, 0.999),
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

    def training_step(self, network: Callable[..., Any], batch: Any, step: int) -> StepOutput:
        """Compute the loss of a batch whose ``frames`` are :class:`~endofm.training.objectives.vcl.views.VCLCrops`."""
        views = render_vcl_views(batch.frames, self.config)
        epoch = self.plan.epoch(step)
        output: VCLOutput = network(views, use_queue=epoch > 0, use_local=epoch >= self.local_start)
        loss = output.terms.total(self.config.decoupling_weight)
        metrics = {name: value.detach() for name, value in output.terms._asdict().items()}
        return StepOutput(loss, {**metrics, "feature_std": output.feature_std})

    def after_backward(self, step: int) -> Mapping[str, Tensor | float]:
        """Limit every gradient by itself; leave alone the concepts in epoch 0, the attention until it counts."""
        norms = clip_each(self.network.parameters(), self.config.clip_gradient)
        if self.plan.epoch(step) == 0:
            cancel_gradients(self.network.named_parameters(), "concepts.")
        if self.plan.epoch(step) < self.local_start:
            cancel_gradients(self.network.named_parameters(), "attention.")
        return {"largest_gradient": norms.max()}

    def after_step(self, step: int) -> None:
        """Set the concept vectors to unit length."""
        self.network.normalize_concepts()

    def health_rules(self) -> Sequence[HealthRule]:
        """Return the rule that tells a collapse: all videos have the same feature."""
        return (
            HealthRule(
                metric="feature_std",
                low=1e-3,
                after_steps=max(self.plan.total_steps // 10, 200),
                rows=10,
                meaning=(
                    "All videos of a batch have the same feature (collapse). Try a lower learning rate, a longer "
                    "warm-up, or larger batches, from which contrast draws its negatives."
                ),
            ),
        )


def build(config: VCLConfig, start: Start) -> ObjectiveParts:
    """Return the task with what its data need; of a checkpoint of self-distillation the encoder alone is of use.

    Raises:
        ConfigError: If the crops do not fit the encoder.
    """
    task = VCLTask(config, start.make_encoder(drop_path_rate=config.drop_path_rate))
    return ObjectiveParts(task, TwoHalves(config.clip_frames, config.max_stride), CutVCLViews(config))
