"""VCL as a task of the training loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from endofm.errors import ConfigError
from endofm.models.encoder import VideoTransformer
from endofm.training.engine.training_task import HealthRule, Plan, StepOutput
from endofm.training.objectives.gradients import cancel_gradients, clip_each
from endofm.training.objectives.pretraining_task import ObjectiveParts, Start
from endofm.training.objectives.self_supervised_task import SelfSupervisedTask
from endofm.training.objectives.vcl.vcl_config import VCLConfig
from endofm.training.objectives.vcl.vcl_model import VCLModel, VCLOutput
from endofm.training.objectives.vcl.vcl_views import CropVCLViews, TwoHalves, render_vcl_views


class VCLTask(SelfSupervisedTask):
    """Trains an encoder by contrast of clips, concepts and local features.

    Args:
        config: The objective.
        encoder: The encoder to train.

    Raises:
        ConfigError: If the crops do not fit the encoder.
    """

    config: VCLConfig
    network: VCLModel
    export_from = ("network", "backbone.")

    def __init__(self, config: VCLConfig, encoder: VideoTransformer) -> None:
        super().__init__(config, encoder)
        self.network = VCLModel(encoder, config)

    @property
    def encoder(self) -> nn.Module:
        """The trained encoder, without heads and concepts."""
        return self.network.backbone

    def prepare(self, plan: Plan) -> None:
        """Build the schedules; see :meth:`PretrainingTask.prepare`.

        Raises:
            ConfigError: If the warm-up is longer than the run, or a step has a single clip.
        """
        super().prepare(plan)
        if plan.batch_size < 2:
            raise ConfigError(
                "VCL contrasts the videos of a batch with each other and needs at least 2 of them; "
                f"run.batch_size is {plan.batch_size}"
            )
        self.local_start = self.config.local_start(plan.epochs)

    def training_step(self, network: Callable[..., Any], batch: Any, step: int) -> StepOutput:
        """Compute the loss of a batch of :class:`~endofm.training.objectives.vcl.vcl_views.VCLCrops`."""
        views = render_vcl_views(batch.frames, self.config)
        epoch = self.plan.epoch(step)
        # As published, the queue is random in epoch 0 and takes no part; local contrast waits until concepts mean
        # something.
        output: VCLOutput = network(views, use_queue=epoch > 0, use_local=epoch >= self.local_start)
        metrics = {name: value.detach() for name, value in output.terms._asdict().items()}
        twins = self.twins.add(*output.tokens.chunk(2))
        loss, anchor = self.anchored(
            output.terms.total(self.config.decoupling_weight), views.clips.unbind(1), output.tokens
        )
        return StepOutput(loss, {**metrics, "feature_std": output.feature_std, **twins, **anchor})

    def after_backward(self, step: int) -> Mapping[str, Tensor | float]:
        """Clip every gradient by its own norm; freeze the concepts in epoch 0, and the attention until it is used."""
        norms = clip_each(self.network.parameters(), self.config.clip_gradient)
        if self.plan.epoch(step) == 0:
            cancel_gradients(self.network.named_parameters(), "concepts.")
        if self.plan.epoch(step) < self.local_start:
            cancel_gradients(self.network.named_parameters(), "attention.")
        return {"largest_gradient": norms.max()}

    def after_step(self, step: int) -> None:
        """Scale the concept vectors to unit length."""
        self.network.normalize_concepts()

    def health_rules(self) -> Sequence[HealthRule]:
        """Return the rule that detects a collapse: all videos have the same feature."""
        return (
            HealthRule(
                metric="feature_std",
                low=1e-3,
                after_steps=self.collapse_after_steps(),
                rows=10,
                meaning=(
                    "All videos of a batch have the same feature (collapse). Try a lower learning rate, a longer "
                    "warm-up, or larger batches, from which contrast draws its negatives."
                ),
            ),
        )


def build(config: VCLConfig, start: Start) -> ObjectiveParts:
    """Return task, frame sampler and transform; of a published training checkpoint only the encoder is used.

    Raises:
        ConfigError: If the crops do not fit the encoder.
    """
    task = VCLTask(config, start.make_encoder(drop_path_rate=config.drop_path_rate))
    return ObjectiveParts(task, TwoHalves(config.clip_frames, config.max_stride), CropVCLViews(config))
