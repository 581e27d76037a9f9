"""Pre-training study: objectives at an equal number of operations. See docs/pretraining_study.md."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from endofm.config import EncoderConfig, ModelConfig, PreprocessConfig
from endofm.config.checks import require_int, require_number
from endofm.errors import ConfigError
from endofm.files import atomic_path
from endofm.synthetic.set_plan import SetSettings
from endofm.training.config_schema import to_dict
from endofm.training.engine.fit import fit
from endofm.training.engine.random_state import seed_all
from endofm.training.objectives.pretraining_task import Start
from endofm.training.pretrain_config import Objective
from endofm.training.run_config import FixedPrecision, RunConfig
from studies.equal_budget import Budget, make_loader, make_parts, steps_within
from studies.feature_scores import METRICS, LabelledClips, ScoreSettings, encoder_features, score, thumbnail_features
from studies.study import Cell, PretrainingClips, Result, Study, StudySettings, require_finished
from studies.study_report import Series, markdown_table, over_seeds, plot_arms, plus_minus

PIXELS, SCRATCH = "pixels", "scratch"
"""Arms that are not trained: thumbnails of the clips, and the network with its initial weights."""

METHODS = {"knn": "k-NN", "linear": "linear probe"}

SIGNS = {
    "teacher_information": "nats of information about the clip in the teacher's output (Endo-FM; 0: collapse)",
    "contrast_vv": "contrast of two clips (VCL; the logarithm of the batch size is chance)",
}
"""Metrics of training that show whether an objective was learnt at all, with their meaning."""


@dataclass(frozen=True, kw_only=True)
class LabelledClipSettings(PretrainingClips):
    """Rendered clips with and without labels.

    Attributes:
        labelled_clips: Clips with labels, half of them with a polyp in view.
        labelled_patients: Their patients, which the folds of the evaluation keep together.
        size: Side of the frames in pixels.
    """

    labelled_clips: int
    labelled_patients: int
    size: int = 64


@dataclass(frozen=True, kw_only=True)
class PretrainingStudySettings(StudySettings):
    """A comparison of objectives.

    Attributes:
        data: Rendered clips.
        encoder: Architecture that all objectives train.
        crop_size: Side of the clips that are embedded, in pixels.
        num_frames: Frames of these clips.
        budget_tflop: Floating-point operations of each arm, in 10^12; see ``equal_budget.py``.
        batch_size: Clips per step.
        precision: Precision of training, see :class:`~endofm.training.run_config.RunConfig`; clips are embedded in
            float32.
        warmup_share: Fraction of the run in which the learning rate rises.
        arms: Objective of each arm, by its name in the table.
        evaluation: How features are scored.
    """

    data: LabelledClipSettings
    encoder: EncoderConfig
    crop_size: int
    num_frames: int
    budget_tflop: float
    batch_size: int = 16
    precision: FixedPrecision = "32-true"
    warmup_share: float = 0.1
    arms: Mapping[str, Objective]
    evaluation: ScoreSettings = field(default_factory=ScoreSettings)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_int(self, "crop_size", "num_frames")
        require_int(self, "batch_size", low=2)
        require_number(self, "budget_tflop", low=0, open_low=True)
        require_number(self, "warmup_share", low=0, high=1)
        for name in (PIXELS, SCRATCH):
            if name in self.arms:
                raise ConfigError(f"the arm {name!r} is not trained and always included; give yours another name")

    def model(self) -> ModelConfig:
        """Return the model that every arm starts with."""
        preprocess = PreprocessConfig(
            num_frames=self.num_frames, short_side=self.crop_size, crop_size=self.crop_size, window_seconds=10.0
        )
        return ModelConfig(encoder=self.encoder, preprocess=preprocess)

    def objective(self, arm: str, epochs: int) -> Objective:
        """Return the objective of an arm in a run of ``epochs`` epochs."""
        return replace(self.arms[arm], warmup_epochs=round(self.warmup_share * epochs))


class PretrainingStudy(Study):
    """Trains one small encoder by several objectives, each for the same number of floating-point operations."""

    settings_class = PretrainingStudySettings
    settings: PretrainingStudySettings

    def sets(self) -> Mapping[str, SetSettings]:
        """Return clips to train on and clips to score on."""
        data = self.settings.data
        labelled = SetSettings(
            task="classification",
            clips=data.labelled_clips,
            patients=data.labelled_patients,
            positive=0.5,
            render=data.render(data.size, data.size, labelled=True),
        )
        return {"pretrain": data.pretrain_set(data.size, data.size), "labelled": labelled}

    def arms(self) -> list[str]:
        """Return the arms without training, then the others."""
        return [PIXELS, SCRATCH, *self.settings.arms]

    def cells(self) -> list[Cell]:
        """Return all cells; thumbnails have no seed."""
        seeds = self.settings.seeds
        return [Cell(PIXELS, seeds[0]), *(Cell(arm, seed) for seed in seeds for arm in [SCRATCH, *self.settings.arms])]

    def dependencies(self, arm: str) -> Any:
        """Return all settings but the objectives of other arms."""
        values = to_dict(self.settings)
        objective = values.pop("arms").get(arm)
        del values["seeds"]
        return {**values, "objective": objective}

    def run(self, cell: Cell, folder: Path) -> Result:
        """Train, and score the frozen features."""
        settings = self.settings
        labelled = LabelledClips(
            self.root / "labelled", settings.model().preprocess, settings.num_frames, settings.batch_size
        )
        trained: dict[str, Any] = {}
        if cell.arm == PIXELS:
            features = thumbnail_features(labelled.clips)
        elif cell.arm == SCRATCH:
            seed_all(cell.seed)
            features = encoder_features(Start(model=settings.model()).make_encoder(), labelled.clips)
        else:
            encoder, trained = self._train(cell, folder)
            features = encoder_features(encoder, labelled.clips)
        deviation = (features / (features**2).sum(1, keepdims=True) ** 0.5).std(0)
        return {
            "scores": score(labelled.with_features(features), settings.evaluation),
            # Root mean square distance of unit-length features from their mean: 0 is a collapse.
            "feature_spread": float((deviation**2).sum() ** 0.5),
            **trained,
        }

    def _train(self, cell: Cell, folder: Path) -> tuple[nn.Module, dict[str, Any]]:
        settings, budget = self.settings, self._budget(cell, folder)
        clips = self.root / "pretrain"
        seed_all(cell.seed)
        parts = make_parts(settings.objective(cell.arm, budget.epochs), settings.model())
        run = RunConfig(
            epochs=budget.epochs,
            max_steps=budget.steps,
            batch_size=settings.batch_size,
            precision=settings.precision,
            accelerator="cpu",
            num_workers=0,
            seed=cell.seed,
            checkpoint_every_epochs=max(budget.epochs // 5, 1),
            keep=1,
            loggers=("csv",),
            on_unhealthy="warn",
        )
        clock, cpu = time.perf_counter(), time.process_time()
        outcome = fit(
            parts.task,
            lambda spec: make_loader(parts, clips, settings.batch_size, cell.seed),
            run,
            folder / "run",
            progress=False,
        )
        require_finished(outcome.finished)
        return parts.task.encoder, {
            "steps": outcome.step,
            "epochs": budget.epochs,
            "clips": outcome.step * settings.batch_size,
            "tflop": outcome.step * budget.tflop_per_step,
            # Of the last sitting alone, where the run was interrupted and resumed.
            "cpu_seconds": time.process_time() - cpu,
            "wall_seconds": time.perf_counter() - clock,
            "last": {name: round(value, 5) for name, value in sorted(outcome.metrics.items())},
        }

    def _budget(self, cell: Cell, folder: Path) -> Budget:
        """Return the budget of the cell's arm, counted once for all seeds."""
        path = folder.parent / "budget.json"
        if not path.exists():
            settings = self.settings
            budget = steps_within(
                settings.budget_tflop,
                lambda epochs: settings.objective(cell.arm, epochs),
                settings.model(),
                self.root / "pretrain",
                batch_size=settings.batch_size,
                steps_per_epoch=settings.data.pretrain_clips // settings.batch_size,
            )
            with atomic_path(path) as temporary:
                temporary.write_text(json.dumps(asdict(budget), indent=1) + "\n", encoding="utf-8")
        return Budget(**json.loads(path.read_text(encoding="utf-8")))

    def summarize(self, arm: str, results: Sequence[Result]) -> dict[str, Any]:
        """Return scores, cost and signs of learning."""
        row: dict[str, Any] = {
            "scores": {
                method: {name: over_seeds([r["scores"][method][name] for r in results]) for name in METRICS}
                for method in METHODS
            },
            "feature_spread": over_seeds([r["feature_spread"] for r in results]),
        }
        if "tflop" in results[0]:
            for name in ("steps", "clips", "tflop", "cpu_seconds", "wall_seconds"):
                row[name] = float(np.mean([r[name] for r in results]))
            row["signs"] = {
                name: over_seeds([r["last"][name] for r in results]) for name in SIGNS if name in results[0]["last"]
            }
        return row

    def comparisons(self, rows: Mapping[str, Any]) -> dict[str, Any]:
        """Return the gain of each trained arm over the untrained network of the same seed."""
        gains: dict[str, Any] = {}
        for arm, row in rows.items():
            if arm in (PIXELS, SCRATCH) or row["seeds"] != rows.get(SCRATCH, {}).get("seeds"):
                continue
            gains[arm] = {}
            for method in METHODS:
                own, scratch = (rows[name]["scores"][method]["f1"]["values"] for name in (arm, SCRATCH))
                gains[arm][method] = over_seeds(np.subtract(own, scratch).tolist())
        return {"differences": gains}

    @classmethod
    def table(cls, summary: Mapping[str, Any]) -> str:
        """Return scores and cost of every arm."""
        heads = ["", *(f"{title} {name}" for title in METHODS.values() for name in ("F1", "AUROC"))]
        heads += ["F1 over scratch (k-NN, linear)", "steps", "clips", "TFLOP", "CPU s"]
        rows = []
        for arm, row in summary["arms"].items():
            cells = [arm, *(plus_minus(row["scores"][method][name]) for method in METHODS for name in ("f1", "auroc"))]
            gain = summary["differences"].get(arm)
            cells.append(", ".join(plus_minus(gain[method], sign=True) for method in METHODS) if gain else "")
            trained = "tflop" in row
            cells += [f"{row[name]:.0f}" if trained else "" for name in ("steps", "clips")]
            cells += [f"{row['tflop']:.1f}" if trained else "", f"{row['cpu_seconds']:.0f}" if trained else ""]
            rows.append(cells)
        return markdown_table(heads, rows)

    @classmethod
    def plot(cls, summary: Mapping[str, Any], path: Path) -> None:
        """Draw F1 of every arm."""
        arms = summary["arms"]
        colours = {a: "0.5" if a in (PIXELS, SCRATCH) else "C1" if a.startswith("vcl") else "C0" for a in arms}
        panels = {
            f"{title}, F1 of polyp in view (%)": [
                Series({arm: row["scores"][method]["f1"] for arm, row in arms.items()}, colours)
            ]
            for method, title in METHODS.items()
        }
        plot_arms(path, panels)

    @classmethod
    def facts(cls, summary: Mapping[str, Any]) -> str:
        """Return the sizes of data and encoder."""
        config = summary["config"]
        data, evaluation, encoder = config["data"], config["evaluation"], config["encoder"]
        return (
            f"Pre-training: {data['pretrain_clips']} clips of {data['pretrain_patients']} patients, {data['frames']} "
            f"frames of {data['size']} pixels. Scores: {data['labelled_clips']} clips of {data['labelled_patients']} "
            f"other patients, {evaluation['folds']}-fold cross-validation by patient, {evaluation['repeats']} deals of "
            f"folds, k = {evaluation['k']}. Encoder: {encoder['depth']} blocks, {encoder['embed_dim']} wide."
        )

    @classmethod
    def appendix(cls, summary: Mapping[str, Any]) -> list[str]:
        """Return the training's own metrics, which separate an objective that was not learnt from a useless one."""
        lines = ["| | spread of features | sign of learning at the end of training |", "|---|---:|---|"]
        for arm, row in summary["arms"].items():
            signs = [f"{values['mean']:.2f} {SIGNS[name]}" for name, values in row.get("signs", {}).items()]
            lines.append(f"| {arm} | {plus_minus(row['feature_spread'], 1, digits=2)} | {'; '.join(signs)} |")
        return ["\n".join(lines)]
