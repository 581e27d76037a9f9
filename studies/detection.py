"""Detection study: backbones at an equal budget, with and without refinement. See docs/detection.md."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from endofm.config import EncoderConfig
from endofm.config.checks import require_int, require_number
from endofm.errors import ConfigError
from endofm.evaluation.report import REPORT_FOLDER
from endofm.synthetic.set_plan import SetSettings
from endofm.training.config_files import load_config
from endofm.training.config_schema import to_dict
from endofm.training.finetune.detection_config import DetectionConfig
from endofm.training.finetune.detection_recipe import RECIPE, UNREFINED_FOLDER
from endofm.training.finetune.run import finetune
from endofm.training.pretrain import pretrain
from endofm.training.pretrain_config import Objective, PretrainConfig
from studies.study import Cell, PretrainingClips, Result, Study, StudySettings, digest, require_finished
from studies.study_report import Series, markdown_table, over_seeds, plot_arms, plus_minus

METRICS = {"ap50": "AP50", "ap50_95": "AP50:95", "presence_f1": "presence F1", "lesion_sensitivity": "lesions found"}

REPORTS = {"refined": REPORT_FOLDER, "unrefined": UNREFINED_FOLDER}
"""Folders of the reports of a run, with and without refinement."""

PUBLISHED = (
    ("Endo-FM, paper", 84.1, "arXiv 2306.16741: F1 (%) on KUMC, which is frame-level presence F1 at score 0.5"),
    ("Endo-FM, released weights", 84.0, "README of med-air/Endo-FM: the same measure, on the val subset"),
)
"""Real data, another measure than AP, and no deviation stated: listed below the table, never in a column of it."""


@dataclass(frozen=True, kw_only=True)
class BoxedClipSettings(PretrainingClips):
    """Rendered clips with and without boxes.

    Attributes:
        clips: Clips with boxes, in train, val and test by patient.
        patients: Their patients.
        width: Width of the frames in pixels.
        height: Height of the frames in pixels.
    """

    clips: int
    patients: int
    width: int = 128
    height: int = 96


@dataclass(frozen=True, kw_only=True)
class DetectionArm:
    """Pre-training of the encoder and fine-tuning of the detector.

    Attributes:
        pretrain: Objective with which the encoder is pre-trained on the rendered clips; null for random weights.
        transfer: Transfer method.
    """

    pretrain: Objective | None = None
    transfer: Literal["full", "linear", "st-adapter", "lora"] = "full"


@dataclass(frozen=True, kw_only=True)
class DetectionStudySettings(StudySettings):
    """A comparison of backbones for detection.

    Attributes:
        data: Rendered clips.
        encoder: Architecture of all arms.
        size: Longer side of the detector's input in pixels.
        channels: Width of its pyramid and towers.
        tower_depth: Convolutions in each tower.
        pretrain_epochs: Epochs of pre-training, the same for every objective.
        pretrain_batch: Clips per step of pre-training.
        epochs: Epochs of fine-tuning over the frames with boxes, the same for every arm.
        batch_size: Target frames per step of fine-tuning.
        learning_rate: Peak learning rate of the head; a pre-trained encoder has a tenth of it.
        every: Every n-th frame is a target of training and evaluation.
        arms: The arms, by their name in the table.
    """

    data: BoxedClipSettings
    encoder: EncoderConfig
    size: int
    channels: int = 64
    tower_depth: int = 2
    pretrain_epochs: int = 20
    pretrain_batch: int = 16
    epochs: int = 20
    batch_size: int = 4
    learning_rate: float = 1e-3
    every: int = 2
    arms: Mapping[str, DetectionArm]

    def __post_init__(self) -> None:
        super().__post_init__()
        require_int(self, "size", "channels", "tower_depth", "pretrain_epochs", "pretrain_batch", "epochs")
        require_int(self, "batch_size", "every")
        require_number(self, "learning_rate", low=0, open_low=True)
        if not self.arms:
            raise ConfigError("arms must name at least one arm")

    def pretraining(self, objective: Objective, clips: Path, seed: int) -> PretrainConfig:
        """Return the settings of a pre-training run; the learning rate rises in its first tenth."""
        objective = replace(objective, warmup_epochs=self.pretrain_epochs // 10)
        values = {
            "objective": to_dict(objective),
            "data": {"clips": [str(clips)]},
            "model": {"name": "study", "encoder": to_dict(self.encoder)},
            "run": {
                "epochs": self.pretrain_epochs,
                "batch_size": self.pretrain_batch,
                "accelerator": "cpu",
                "num_workers": 0,
                "seed": seed,
                "checkpoint_every_epochs": max(self.pretrain_epochs // 5, 1),
                "keep": 1,
                "loggers": ["csv"],
                "on_unhealthy": "warn",
            },
        }
        return load_config(PretrainConfig, values)

    def fine_tuning(self, arm: DetectionArm, boxes: Path, encoder: Path | None, seed: int) -> DetectionConfig:
        """Return the settings of a fine-tuning run.

        Args:
            arm: The arm.
            boxes: Rendered set.
            encoder: Model folder of the pre-trained encoder; None for random weights.
            seed: Seed of the run.
        """
        start = {"encoder": to_dict(self.encoder)} if encoder is None else {"source": str(encoder)}
        values = {
            "model": {
                **start,
                "size": self.size,
                "channels": self.channels,
                "tower_depth": self.tower_depth,
                "num_supports": 4,
                "support_reach": 4,
                "drop_path_rate": 0.0,
                "name": "study",
            },
            "transfer": arm.transfer,
            "data": {
                "root": str(boxes),
                "train": "train",
                "validation": "val",
                "test": "test",
                "reach": 4,
                "every": self.every,
            },
            "optimizer": {
                "learning_rate": self.learning_rate,
                "weight_decay": 1e-4,
                "backbone_rate": 1.0 if encoder is None else 0.1,
                "clip_norm": 5.0,
            },
            "schedule": {"warmup_epochs": 0.5},
            "evaluation": {"every": self.every, "batch_size": 4, "resamples": 0, "without_refinement": True},
            "run": {
                "epochs": self.epochs,
                "batch_size": self.batch_size,
                "accelerator": "cpu",
                "num_workers": 0,
                "seed": seed,
                "monitor": "ap50_95",
                "validate_every_epochs": max(self.epochs // 5, 1),
                "keep": 1,
                "loggers": ["csv"],
            },
        }
        return load_config(DetectionConfig, values)


class DetectionStudy(Study):
    """Fine-tunes detectors on several backbones for the same number of steps."""

    settings_class = DetectionStudySettings
    settings: DetectionStudySettings

    def sets(self) -> Mapping[str, SetSettings]:
        """Return clips to pre-train on and clips with boxes."""
        data = self.settings.data
        boxes = SetSettings(
            task="detection",
            clips=data.clips,
            patients=data.patients,
            positive=0.8,
            render=data.render(data.width, data.height, labelled=True),
        )
        return {"pretrain": data.pretrain_set(data.width, data.height), "boxes": boxes}

    def arms(self) -> list[str]:
        """Return the arms."""
        return list(self.settings.arms)

    def group(self, cell: Cell) -> str:
        """Return one group per seed: its arms share pre-trained encoders."""
        return f"seed {cell.seed}"

    def dependencies(self, arm: str) -> Any:
        """Return all settings but other arms."""
        values = to_dict(self.settings)
        del values["seeds"]
        return {**values, "arms": values["arms"][arm]}

    def encoder_folder(self, cell: Cell) -> Path | None:
        """Return the folder of a cell's pre-training run, which arms with the same objective share; None without."""
        settings = self.settings
        objective = settings.arms[cell.arm].pretrain
        if objective is None:
            return None
        shared = [to_dict(settings.data), to_dict(settings.encoder), settings.pretrain_epochs, settings.pretrain_batch]
        return (
            self.root / "encoders" / f"{objective.name}-{digest([*shared, to_dict(objective)])}" / f"seed-{cell.seed}"
        )

    def run(self, cell: Cell, folder: Path) -> Result:
        """Pre-train unless that is done, fine-tune and score."""
        clock, cpu = time.perf_counter(), time.process_time()
        arm, encoder = self.settings.arms[cell.arm], self.encoder_folder(cell)
        if encoder is not None and arm.pretrain is not None:
            config = self.settings.pretraining(arm.pretrain, self.root / "pretrain", cell.seed)
            require_finished(pretrain(config, encoder, progress=False).finished)
        start = None if encoder is None else encoder / "export"
        run = folder / "run"
        outcome = finetune(
            RECIPE, self.settings.fine_tuning(arm, self.root / "boxes", start, cell.seed), run, progress=False
        )
        require_finished(outcome.finished)
        result = {
            "scores": {name: _metrics(run / report) for name, report in REPORTS.items()},
            "steps": outcome.step,
            # Of the last sitting alone, where the run was interrupted and resumed.
            "cpu_seconds": time.process_time() - cpu,
            "wall_seconds": time.perf_counter() - clock,
        }
        shutil.rmtree(run / "checkpoints", ignore_errors=True)
        return result

    def summarize(self, arm: str, results: Sequence[Result]) -> dict[str, Any]:
        """Return scores with and without refinement, its gain, and cost."""
        scores = {way: {name: [r["scores"][way][name] for r in results] for name in METRICS} for way in REPORTS}
        return {
            "scores": {way: {name: over_seeds(v) for name, v in by_name.items()} for way, by_name in scores.items()},
            "gain": {
                name: over_seeds(
                    [
                        None if one is None or other is None else one - other
                        for one, other in zip(scores["refined"][name], scores["unrefined"][name], strict=True)
                    ]
                )
                for name in METRICS
            },
            "steps": results[0]["steps"],
            "cpu_seconds": float(np.mean([r["cpu_seconds"] for r in results])),
        }

    def comparisons(self, rows: Mapping[str, Any]) -> dict[str, Any]:
        """Return the published numbers with their sources."""
        return {"published": [{"model": m, "presence_f1": value, "source": s} for m, value, s in PUBLISHED]}

    @classmethod
    def table(cls, summary: Mapping[str, Any]) -> str:
        """Return scores and cost of every arm, and the published numbers below."""
        heads = ["", *METRICS.values(), "AP50 without refinement", "gain of it", "steps", "CPU s"]
        rows = []
        for arm, row in summary["arms"].items():
            cells = [arm, *(plus_minus(row["scores"]["refined"][name]) for name in METRICS)]
            cells += [plus_minus(row["scores"]["unrefined"]["ap50"]), plus_minus(row["gain"]["ap50"], sign=True)]
            rows.append([*cells, str(row["steps"]), f"{row['cpu_seconds']:.0f}"])
        lines = ["Percent on rendered test videos; mean and deviation over seeds. Published, on real data:", ""]
        lines += [f"- {row['model']}: {row['presence_f1']} ({row['source']})" for row in summary["published"]]
        return markdown_table(heads, rows) + "\n" + "\n".join(lines) + "\n"

    @classmethod
    def plot(cls, summary: Mapping[str, Any], path: Path) -> None:
        """Draw AP50 and presence F1 of every arm, with and without refinement."""
        panels = {}
        for name in ("ap50", "presence_f1"):
            values = {way: {arm: row["scores"][way][name] for arm, row in summary["arms"].items()} for way in REPORTS}
            panels[f"{METRICS[name]} (%)"] = [
                Series(values["refined"], "C0", "refined"),
                Series(values["unrefined"], "0.6", "unrefined"),
            ]
        plot_arms(path, panels)


def _metrics(folder: Path) -> dict[str, float | None]:
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    return {name: row["value"] for name, row in report["metrics"].items()}
