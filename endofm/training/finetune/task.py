"""What all fine-tuning has in common, as the training loop sees it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor, nn

from endofm._version import __version__
from endofm.config import ModelConfig
from endofm.files import atomic_path
from endofm.hub.model_folder import save_folder
from endofm.models.auto import model_class
from endofm.models.pretrained import Pretrained
from endofm.training.engine.training_task import RunSummary, StepOutput, TrainingTask, Weights
from endofm.training.finetune.recipe import OptimizerConfig, ScheduleConfig, make_optimizer
from endofm.training.transfer.adapter_file import save_adapter
from endofm.training.transfer.base import Transfer, trainable_parameters
from endofm.training.transfer.methods import set_training

RECIPE_NAME = "training.yaml"


class FineTuningTask(TrainingTask):
    """A model with a head that learns from labels by some transfer method.

    A task of one kind adds :meth:`loss` and :meth:`validate`.

    Args:
        model: The model, prepared by :func:`~endofm.training.transfer.methods.apply_transfer`.
        transfer: What that returned.
        optimizer: How weights follow gradients.
        schedule: How the learning rate changes.
        name: Title of the model that comes out.
        license: Licence of its weights, as an identifier.
        sources: Lists or sets that it learns from, for the model card.
    """

    def __init__(
        self,
        model: Pretrained,
        transfer: Transfer,
        optimizer: OptimizerConfig,
        schedule: ScheduleConfig,
        *,
        name: str = "",
        license: str = "",
        sources: Sequence[str] = (),
    ) -> None:
        self.network: Pretrained = model
        self.transfer, self.optimizer_config, self.schedule_config = transfer, optimizer, schedule
        self.name, self.license, self.sources = name, license, sources
        self.find_unused_parameters = transfer.leaves_unused

    def make_optimizer(self) -> torch.optim.Optimizer:
        """See the base class."""
        return make_optimizer(self.network, self.optimizer_config)

    def schedule(self, optimizer: torch.optim.Optimizer, step: int) -> Mapping[str, float]:
        """Set the learning rate of every group."""
        rate = self.optimizer_config.peak(self.plan.batch_size) * self.schedule_config.factor(self.plan, step)
        for group in optimizer.param_groups:
            group["lr"] = rate * group["rate"]
        return {"lr": rate}

    def training_step(self, network: Callable[..., Any], batch: Any, step: int) -> StepOutput:
        """Compute the loss of a batch."""
        return self.loss(network, batch)

    def loss(self, network: Callable[..., Any], batch: Any) -> StepOutput:
        """Return the loss of a batch; call the model through ``network``, once."""
        raise TypeError(f"{type(self).__name__} says no loss")

    def after_backward(self, step: int) -> Mapping[str, Tensor | float]:
        """Limit the gradients."""
        limit = self.optimizer_config.clip_norm
        if limit is None:
            return {}
        return {"grad_norm": nn.utils.clip_grad_norm_([p for _, p in trainable_parameters(self.network)], limit)}

    def set_training(self, mode: bool) -> None:
        """Keep a frozen encoder in evaluation mode."""
        set_training(self.network, mode)

    def export(self, folder: Path, weights: Weights, summary: RunSummary) -> None:
        """Write the model, the adapter alone if the encoder was frozen, and the settings of the run."""
        model = self.trained_model(weights["network"])
        if self.transfer.freezes_encoder:
            save_adapter(model, self.transfer, folder)
        self.transfer.merge(model)
        # Without the provenance of the encoder, whose card tells of other data and other scores.
        save_folder(folder, config=model.config, state_dict=model.state_dict(), sections=self._card(summary))
        with atomic_path(folder / RECIPE_NAME) as temporary:
            temporary.write_text(yaml.safe_dump(dict(summary.config), sort_keys=False), encoding="utf-8")

    def trained_model(self, weights: Mapping[str, Tensor]) -> Pretrained:
        """Return a new model with trained weights, low-rank additions not merged yet."""
        config = self._trained_config()
        model = model_class(config.task)(config)
        model.requires_grad_(False)
        self.transfer.rebuild(model)
        model.load_state_dict(weights)
        own = dict(self.network.named_parameters())
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(own[name].requires_grad)
        model.provenance = dict(self.network.provenance)
        return model.eval()

    def _card(self, summary: RunSummary) -> dict[str, str]:
        """Return the sections of the model card that the run can tell."""
        names = ", ".join(f"`{Path(source).name}`" for source in self.sources) or "not stated"
        start = self.network.provenance.get("record") or self.network.provenance.get("source")
        plan, run = summary.plan, summary.config["run"]
        lines = [
            f"transfer `{self.transfer.name}` of endofm {__version__}",
            f"begun from {f'`{Path(start).name}`' if start else 'random weights'}",
            f"{summary.step:,} of {plan.total_steps:,} steps of {plan.batch_size}, precision `{run['precision']}`, "
            f"seed {run['seed']}, {plan.world_size} process(es) on {summary.device}",
            f"all settings: `{RECIPE_NAME}` beside this card",
        ]
        return {
            "Training data": f"Fine-tuned on the labels of {names}. What its encoder was trained on is told by the "
            "card of the weights that it began from.",
            "Evaluation": "See the report of the run, and test it on data of the place where it is used: nothing is "
            "claimed of patients, hospitals and endoscopes that are not in the training data.",
            "Training procedure": "\n".join(f"- {line}" for line in lines),
        }

    def _trained_config(self) -> ModelConfig:
        config = self.network.config
        encoder = replace(config.encoder, drop_path_rate=0.0)
        return replace(config, encoder=encoder, trained=True, name=self.name, license=self.license or config.license)
