"""Export of a pre-trained encoder: a model folder with a card that documents the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from torch import Tensor

from endofm._version import __version__
from endofm.config import ModelConfig
from endofm.files import atomic_path
from endofm.hub.card_text import as_text
from endofm.hub.model_folder import save_folder
from endofm.training.engine.training_task import RunSummary

RECIPE_NAME = "training.yaml"
"""Name of the file with the settings of the run, next to the weights."""


@dataclass(frozen=True)
class DataSource:
    """One source of clips, as named in the card.

    Attributes:
        name: Name, without the folders of this machine.
        clips: Number of clips.
    """

    name: str
    clips: int
    notes: tuple[str, ...] = ()


@dataclass
class EncoderExporter:
    """Writes the encoder of a pre-training run.

    Attributes:
        model: Architecture and preprocessing.
        sources: Training data.
        origin: Description of the initial weights.
        skipped: Clips that could not be read, with the reason; filled during the run.
    """

    model: ModelConfig
    sources: Sequence[DataSource]
    origin: str
    skipped: Mapping[str, str]

    def __call__(self, folder: Path, encoder: Mapping[str, Tensor], summary: RunSummary) -> None:
        """Write weights, configuration, card and the settings of the run."""
        save_folder(folder, config=self.model, state_dict=encoder, sections=self._card(summary))
        with atomic_path(folder / RECIPE_NAME) as temporary:
            temporary.write_text(yaml.safe_dump(dict(summary.config), sort_keys=False), encoding="utf-8")

    def _card(self, summary: RunSummary) -> dict[str, str]:
        return {
            "Training data": self._data(),
            "Evaluation": _evaluation(summary.metrics),
            "Training procedure": self._procedure(summary),
            "What it is not": _LIMITS,
        }

    def _data(self) -> str:
        lines = [f"- {as_text(source.name)} ({source.clips:,} clips)" for source in self.sources]
        text = "Trained without labels on:\n\n" + "\n".join(lines)
        text += "".join(f"\n\n{note}" for source in self.sources for note in source.notes)
        if self.skipped:
            text += f"\n\n{len(self.skipped)} of the clips could not be decoded and were left out."
        return text

    def _procedure(self, summary: RunSummary) -> str:
        config, plan, metrics = summary.config, summary.plan, summary.metrics
        run, seen = config["run"], summary.step * plan.batch_size
        lines = [
            f"objective `{config['objective']['name']}` of endofm {__version__}",
            f"started from {self.origin}",
            f"{summary.step:,} of {plan.total_steps:,} steps of {plan.batch_size} clips ({seen:,} clips seen, "
            f"{summary.step / plan.steps_per_epoch:.3g} epochs)",
            f"precision `{run['precision']}`, seed {run['seed']}, {plan.world_size} process(es) on {summary.device}, "
            f"{summary.seconds / 3600:.2g} h",
        ]
        if "loss" in metrics:
            lines.append(f"final loss {metrics['loss']:.4g}")
        lines += [*summary.notes, f"all settings: `{RECIPE_NAME}` next to this card"]
        return "\n".join(f"- {line}" for line in lines)


_LIMITS = (
    "- No diagnosis and no measurement: it gives features, whose meaning has to be learnt and tested for each task.\n"
    "- No claim on patients, hospitals, organs or endoscopes that are not in the training data.\n"
    "- No substitute for validation by its users, on data of the place of use."
)


def _evaluation(metrics: Mapping[str, Any]) -> str:
    if "knn_f1" not in metrics:
        return "Not evaluated during training."
    return (
        "k nearest neighbours on labelled clips held out of training, never of the same patient or recording:\n\n"
        "| macro F1 | accuracy | accuracy of always predicting the most frequent class |\n|---|---|---|\n"
        f"| {metrics['knn_f1']:.3f} | {metrics['knn_accuracy']:.3f} | {metrics['knn_majority']:.3f} |\n\n"
        "These scores were monitored during training; they are not results on an independent test set."
    )
