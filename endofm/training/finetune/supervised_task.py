"""The training task of fine-tuning: optimizer, schedule and export, shared by all tasks."""

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
from endofm.hub.card_text import as_code
from endofm.hub.model_folder import save_folder
from endofm.models.auto import model_class
from endofm.models.pretrained import Pretrained
from endofm.training.engine.training_task import RunSummary, StepOutput, TrainingTask, Weights
from endofm.training.finetune.optimizer import make_optimizer
from endofm.training.finetune.shared_config import FineTuneConfig
from endofm.training.transfer.adapter_file import save_adapter
from endofm.training.transfer.base import Transfer, trainable_parameters
from endofm.training.transfer.methods import set_training

RECIPE_NAME = "training.yaml"


class FineTuningTask(TrainingTask):
    """Supervised training of a model with a head by a transfer method.

    A task adds :meth:`loss` and :meth:`validate`.

    Args:
        model: The model, prepared by :func:`~endofm.training.transfer.methods.apply_transfer`.
        transfer: The method that it was prepared for.
        config: All settings.
        sources: Lists or sets of the training data, for the model card.
        schedule_lag: Steps by which the learning rate lags behind its schedule.

    Attributes:
        left_out: What the lists name and the sets do not hold, one sentence each, for the card.
        unread: For each set besides the training set how many of its clips could not be decoded, and how many it has.
        skipped: Training clips that could not be decoded, with the reason; filled during the run.
        trained: Number of training clips.
    """

    def __init__(
        self,
        model: Pretrained,
        transfer: Transfer,
        config: FineTuneConfig,
        *,
        sources: Sequence[str] = (),
        schedule_lag: int = 0,
    ) -> None:
        self.network: Pretrained = model
        self.transfer, self.config, self.sources, self.schedule_lag = transfer, config, sources, schedule_lag
        self.find_unused_parameters = transfer.leaves_unused
        self.left_out: Sequence[str] = ()
        self.unread: dict[str, tuple[int, int]] = {}
        self.skipped: Mapping[str, str] = {}
        self.trained = 0

    def make_optimizer(self) -> torch.optim.Optimizer:
        """See the base class."""
        return make_optimizer(self.network, self.config.optimizer)

    def schedule(self, optimizer: torch.optim.Optimizer, step: int) -> Mapping[str, float]:
        """Set the learning rate of every group."""
        # A function of the step alone, so that a resumed run has the rates of an uninterrupted one.
        factor = self.config.schedule.factor(self.plan, max(step - self.schedule_lag, 0))
        rate = self.config.optimizer.peak(self.plan.batch_size) * factor
        for group in optimizer.param_groups:
            group["lr"] = rate * group["rate"]
        return {"lr": rate}

    def training_step(self, network: Callable[..., Any], batch: Any, step: int) -> StepOutput:
        """Compute the loss of a batch."""
        return self.loss(network, batch)

    def loss(self, network: Callable[..., Any], batch: Any) -> StepOutput:
        """Return the loss of a batch; call the model through ``network``, once."""
        raise TypeError(f"{type(self).__name__} does not implement loss()")

    def notes(self) -> Sequence[str]:
        """Return what the report has to say about the training data, one sentence each."""
        return ()

    def unread_notes(self) -> list[str]:
        """Return one sentence for every set of which clips could not be decoded."""
        counts = {"training clips": (len(self.skipped), self.trained), **self.unread}
        return [note for name, (count, total) in counts.items() for note in left_out_note(count, total, name)]

    def after_backward(self, step: int) -> Mapping[str, Tensor | float]:
        """Clip the gradients."""
        limit = self.config.optimizer.clip_norm
        if limit is None:
            return {}
        return {"grad_norm": nn.utils.clip_grad_norm_([p for _, p in trainable_parameters(self.network)], limit)}

    def set_training(self, mode: bool) -> None:
        """Keep a frozen encoder in evaluation mode."""
        set_training(self.network, mode)

    def export(self, folder: Path, weights: Weights, summary: RunSummary) -> None:
        """Write the model, an adapter-only file if the encoder was frozen, and the settings of the run."""
        model = self.trained_model(weights["network"])
        if self.transfer.freezes_encoder:
            save_adapter(model, self.transfer, folder)
        self.transfer.merge(model)
        # Without the provenance of the encoder, whose card describes other data and other scores.
        save_folder(folder, config=model.config, state_dict=model.state_dict(), sections=self._card(summary))
        with atomic_path(folder / RECIPE_NAME) as temporary:
            temporary.write_text(yaml.safe_dump(dict(summary.config), sort_keys=False), encoding="utf-8")

    def trained_model(self, weights: Mapping[str, Tensor]) -> Pretrained:
        """Return a new model with trained weights, before :meth:`~endofm.training.transfer.base.Transfer.merge`."""
        config = self._trained_config()
        model = model_class(config.task)(config)
        model.requires_grad_(False)
        self.transfer.rebuild(model)
        model.load_state_dict(weights)
        # Which parameters were trained decides what the adapter-only file holds.
        trained = dict(self.network.named_parameters())
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(trained[name].requires_grad)
        model.provenance = dict(self.network.provenance)
        return model.eval()

    def _card(self, summary: RunSummary) -> dict[str, str]:
        """Return the sections of the model card that describe the run."""
        names = ", ".join(as_code(Path(source).name) for source in self.sources) or "not stated"
        if self.config.data.camera is not None:
            names += ", stills that a virtual camera moved over"
        start = self.network.provenance.get("record") or self.network.provenance.get("source")
        plan, run = summary.plan, summary.config["run"]
        lines = [
            f"transfer `{self.transfer.name}` of endofm {__version__}",
            f"initial weights: {as_code(Path(start).name) if start else 'random weights'}",
            f"{summary.step:,} of {plan.total_steps:,} steps of {plan.batch_size}, precision `{run['precision']}`, "
            f"seed {run['seed']}, {plan.world_size} process(es) on {summary.device}",
            f"all settings: `{RECIPE_NAME}` next to this card",
        ]
        return {
            "Training data": f"Fine-tuned on the labels of {names}. The training data of its encoder are described on "
            "the card of the initial weights."
            + "".join(f"\n\n{note}" for note in [*self.left_out, *self.unread_notes()]),
            "Evaluation": "See the report of the run, and test the model on data of the site where it will be used: "
            "nothing is claimed about patients, hospitals and endoscopes that are not in the training data.",
            "Training procedure": "\n".join(f"- {line}" for line in lines),
        }

    def _trained_config(self) -> ModelConfig:
        config = self.network.config
        encoder = replace(config.encoder, drop_path_rate=0.0)
        start = self.config.model
        return replace(config, encoder=encoder, trained=True, name=start.name, license=start.license or config.license)


def left_out_note(count: int, total: int, name: str) -> list[str]:
    """Return the sentence on clips that could not be decoded; none if all could.

    Args:
        count: Clips that could not be decoded.
        total: All clips of the set.
        name: Its name, such as ``"test clips"``.
    """
    return [f"{count} of {total} {name} could not be decoded and were left out."] if count else []
