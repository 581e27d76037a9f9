"""Classification study: backbones and transfer methods at an equal budget. See docs/classification.md."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from endofm import EndoFM
from endofm.config import EncoderConfig
from endofm.errors import ConfigError
from endofm.synthetic.set_plan import SetSettings
from endofm.synthetic.specs import RenderConfig
from endofm.training.config_files import load_config
from endofm.training.config_schema import to_dict
from endofm.training.finetune.classification_config import ClassificationConfig
from endofm.training.finetune.classification_recipe import RECIPE
from endofm.training.finetune.run import finetune
from studies.study import Cell, Result, Study, StudySettings, require_finished
from studies.study_report import Series, markdown_table, over_seeds, plot_arms, plus_minus

Transfer = Literal["full", "linear", "st-adapter", "lora"]

SCRATCH = "scratch"
METRICS = {"f1": "F1 (%)", "auroc": "AUROC (%)"}
"""Metrics of the table. F1 alone is misleading: calling every video positive scores two thirds."""

PAPER = (
    ("scratch", None, "not read: only the abstract of the paper was available"),
    ("VCL", 87.6, "from the difference of 3.1 that the abstract states"),
    ("ST-Adapter", 84.8, "from the difference of 5.9 that the abstract states"),
    ("Endo-FM", 90.7, "paper (arXiv 2306.16741), best epoch on the test list"),
    ("Endo-FM, released weights", 91.5, "the authors' README"),
)
"""F1 in percent on PolypDiag, and its source."""

NOT_COMPARABLE = (
    "The paper's numbers are on PolypDiag (253 real videos), ours on rendered endoscopy: they cannot be compared, and "
    "are listed for the order of the methods.",
    "The paper chose the epoch on the test list; here a validation set held out of the training patients chooses it.",
    "PolypDiag consists of videos that Endo-FM was pre-trained on. No rendered video was.",
    "Backbone, width and placement of the paper's ST-Adapter row are not published; ours is on Endo-FM's own blocks.",
)


@dataclass(frozen=True, kw_only=True)
class LabelledVideoSettings:
    """Labelled videos, rendered or given.

    Attributes:
        path: Labelled set with train, val and test; null to render one.
        clips: Rendered videos, half of them with a polyp.
        patients: Their patients.
        size: Side of the frames in pixels.
        frames: Frames per video, at 10 per second.
        difficulty: See :class:`~endofm.synthetic.specs.RenderConfig`.
        seed: Seed of the renderer.
    """

    path: str | None = None
    clips: int = 240
    patients: int = 40
    size: int = 224
    frames: int = 40
    difficulty: float = 0.6
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class ClassificationStudySettings(StudySettings):
    """A comparison of backbones and transfer methods for classification.

    Attributes:
        data: Labelled videos.
        backbones: Initial weights by name: a registered name, a model folder, or null for random weights.
        encoder: Architecture of the random weights; null for that of the first backbone with weights.
        transfers: Transfer methods.
        finetune: Settings that all runs share, as of `endofm finetune classification`.
    """

    data: LabelledVideoSettings
    backbones: dict[str, str | None]
    encoder: EncoderConfig | None = None
    transfers: tuple[Transfer, ...] = ("full", "linear", "st-adapter")
    finetune: Mapping[str, Any]

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.encoder is None and not any(self.backbones.values()):
            raise ConfigError("encoder: give the architecture, or a backbone with weights whose architecture is used")

    def architecture(self) -> EncoderConfig:
        """Return the architecture of random weights."""
        if self.encoder is not None:
            return self.encoder
        source = next(source for source in self.backbones.values() if source)
        return EndoFM.from_pretrained(source).config.encoder

    def fine_tuning(self, backbone: str, transfer: str, data: Path, seed: int) -> ClassificationConfig:
        """Return the settings of one run."""
        values: dict[str, Any] = json.loads(json.dumps(self.finetune))
        source = self.backbones[backbone]
        start = {"source": source} if source else {"encoder": to_dict(self.architecture())}
        values["model"] = {**values.get("model", {}), **start}
        values["transfer"] = transfer
        values["data"] = {**values.get("data", {}), "train": str(data)}
        values["run"] = {**values.get("run", {}), "seed": seed}
        return load_config(ClassificationConfig, values)


class ClassificationStudy(Study):
    """Fine-tunes every backbone by every transfer method."""

    settings_class = ClassificationStudySettings
    settings: ClassificationStudySettings

    def sets(self) -> Mapping[str, SetSettings]:
        """Return the set to render, if none is given."""
        data = self.settings.data
        if data.path is not None:
            return {}
        videos = SetSettings(
            task="classification",
            clips=data.clips,
            patients=data.patients,
            positive=0.5,
            split=(0.6, 0.2, 0.2),
            render=RenderConfig(
                width=data.size,
                height=data.size,
                num_frames=data.frames,
                fps=10.0,
                difficulty=data.difficulty,
                seed=data.seed,
            ),
        )
        return {"videos": videos}

    def arms(self) -> list[str]:
        """Return every backbone with every transfer method, as ``backbone-transfer``."""
        return [
            f"{backbone}-{transfer}" for backbone in self.settings.backbones for transfer in self.settings.transfers
        ]

    def dependencies(self, arm: str) -> Any:
        """Return all settings but other arms."""
        values = to_dict(self.settings)
        for name in ("seeds", "transfers"):
            del values[name]
        backbone, transfer = self._parts(arm)
        return {**values, "backbones": self.settings.backbones[backbone], "transfer": transfer}

    def _pairs(self) -> list[tuple[str, str]]:
        settings = self.settings
        return [(backbone, transfer) for backbone in settings.backbones for transfer in settings.transfers]

    def _parts(self, arm: str) -> tuple[str, str]:
        return next(pair for pair in self._pairs() if "-".join(pair) == arm)

    def run(self, cell: Cell, folder: Path) -> Result:
        """Fine-tune and score."""
        backbone, transfer = self._parts(cell.arm)
        data = Path(self.settings.data.path or self.root / "videos")
        config = self.settings.fine_tuning(backbone, transfer, data, cell.seed)
        require_finished(finetune(RECIPE, config, folder / "run", progress=False).finished)
        report = json.loads((folder / "run/report/report.json").read_text(encoding="utf-8"))
        return {
            "metrics": {name: report["metrics"].get(name, {}).get("value") for name in METRICS},
            "parameters_learning": report["settings"]["parameters_learning"],
            "test_videos": report["items"],
        }

    def summarize(self, arm: str, results: Sequence[Result]) -> dict[str, Any]:
        """Return metrics and trainable parameters."""
        backbone, transfer = self._parts(arm)
        return {
            "backbone": backbone,
            "transfer": transfer,
            "metrics": {name: over_seeds([r["metrics"][name] for r in results]) for name in METRICS},
            "parameters_learning": results[0]["parameters_learning"],
            "test_videos": results[0]["test_videos"],
        }

    def comparisons(self, rows: Mapping[str, Any]) -> dict[str, Any]:
        """Return the paper's numbers, and the reasons why they cannot be compared."""
        return {"paper": [list(row) for row in PAPER], "notes": list(NOT_COMPARABLE)}

    @classmethod
    def table(cls, summary: Mapping[str, Any]) -> str:
        """Return metrics of every arm, then the paper's numbers and what cannot be compared."""
        rows = [
            [
                row["backbone"],
                row["transfer"],
                f"{row['parameters_learning']:,}",
                *(plus_minus(row["metrics"][name]) for name in METRICS),
                str(len(row["seeds"])),
            ]
            for row in summary["arms"].values()
        ]
        paper = [[name, "-" if value is None else str(value), source] for name, value, source in summary["paper"]]
        parts = [
            "Test videos; mean and deviation over seeds:\n",
            markdown_table(["backbone", "transfer", "trainable parameters", *METRICS.values(), "seeds"], rows),
            "Published, on PolypDiag:\n",
            markdown_table(["method", "F1 (%)", "source"], paper),
            "Not comparable:\n",
            "\n".join(f"- {note}" for note in summary["notes"]) + "\n",
        ]
        return "\n".join(parts)

    @classmethod
    def plot(cls, summary: Mapping[str, Any], path: Path) -> None:
        """Draw F1 and AUROC of every arm."""
        panels = {
            title: [Series({arm: row["metrics"][name] for arm, row in summary["arms"].items()})]
            for name, title in METRICS.items()
        }
        plot_arms(path, panels)
