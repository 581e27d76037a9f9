"""Segmentation study: initial weights at an equal budget. See docs/segmentation_study.md."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from endofm.config import EncoderConfig
from endofm.config.checks import require_int
from endofm.data.segmentation.masked_clips import read_list
from endofm.errors import ConfigError
from endofm.evaluation.mask_metrics import mask_metrics
from endofm.evaluation.run_segmenter import run_segmenter
from endofm.synthetic.set_plan import SetSettings
from endofm.tasks.segmentation.model import EndoFMForSegmentation
from endofm.training.config_files import load_config
from endofm.training.config_schema import to_dict
from endofm.training.finetune.run import finetune
from endofm.training.finetune.segmentation_config import SegmentationConfig
from endofm.training.finetune.segmentation_recipe import RECIPE
from endofm.training.pretrain import pretrain
from endofm.training.pretrain_config import Objective, PretrainConfig
from studies.study import Cell, PretrainingClips, Result, Study, StudySettings, digest, require_finished
from studies.study_report import Series, markdown_table, over_seeds, plot_arms, plus_minus

SCRATCH = "scratch"
METRICS = {
    "dice_clip": "Dice (clip)",
    "iou_clip": "IoU (clip)",
    "dice_frame": "Dice (frame)",
    "hd95_frame": "HD95 (px)",
    "missed_frames": "frames missed",
    "published_dice": "published Dice",
}

PAPER = {"vcl": 69.1, "st-adapter": 64.3, "endofm": 73.9}
"""Dice on CVC-12k in percent, arXiv 2306.16741, main comparison: real frames, the published recipe, test clips of which
most are in the training list too. Not comparable with rendered video; shown for the order."""


@dataclass(frozen=True, kw_only=True)
class MaskedClipSettings(PretrainingClips):
    """Rendered clips with and without masks.

    Attributes:
        clips: Clips with masks; a fifth of the patients each is held out for validation and for test.
        patients: Their patients.
        size: Side of the frames in pixels.
    """

    clips: int
    patients: int
    size: int = 96


@dataclass(frozen=True, kw_only=True)
class SegmentationArm:
    """Initial weights and the fine-tuning from them.

    Attributes:
        start: `scratch`, or the name of an objective with which the study pre-trains an encoder.
        source: Initial weights instead: a registered name, a model folder, a file.
        network: `hybrid` or `light`.
        transfer: Transfer method.
        frames_only: Use the encoder's blocks without their attention over time.
    """

    start: str = SCRATCH
    source: str | None = None
    network: Literal["hybrid", "light"] = "hybrid"
    transfer: Literal["full", "linear", "st-adapter", "lora"] = "full"
    frames_only: bool = False


@dataclass(frozen=True, kw_only=True)
class SegmentationStudySettings(StudySettings):
    """A comparison of initial weights for segmentation.

    Attributes:
        data: Rendered clips.
        encoder: Architecture that all objectives train.
        objectives: Objectives of pre-training, by name.
        pretrain: Settings of these runs, as under `run` of `endofm pretrain`.
        finetune: Settings that all arms share, as of `endofm finetune segmentation`, without initial weights and
            transfer method.
        steps: Optimisation steps of every arm.
        arms: The arms, by their name in the table.
    """

    data: MaskedClipSettings
    encoder: EncoderConfig
    objectives: Mapping[str, Objective]
    pretrain: Mapping[str, Any]
    finetune: Mapping[str, Any]
    steps: int
    arms: Mapping[str, SegmentationArm]

    def __post_init__(self) -> None:
        super().__post_init__()
        require_int(self, "steps")
        for name, arm in self.arms.items():
            if arm.start != SCRATCH and arm.start not in self.objectives:
                known = ", ".join([SCRATCH, *self.objectives])
                raise ConfigError(f"arm {name!r} starts from {arm.start!r}; there are {known}")

    def fine_tuning(self, arm: SegmentationArm, seed: int, masks: Path, source: str | None) -> SegmentationConfig:
        """Return the settings of one run."""
        values: dict[str, Any] = json.loads(json.dumps(self.finetune))
        values["model"] = {
            **values.get("model", {}),
            "network": arm.network,
            "frames_only": arm.frames_only,
            **({"source": source} if source else {"encoder": to_dict(self.encoder)}),
        }
        values["transfer"] = arm.transfer
        values["data"] = {**values.get("data", {}), "train": [str(masks)]}
        values["run"] = {**values.get("run", {}), "max_steps": self.steps, "seed": seed}
        return load_config(SegmentationConfig, values)


class SegmentationStudy(Study):
    """Fine-tunes segmentation models from several initial weights, with equal steps, clips and optimiser."""

    settings_class = SegmentationStudySettings
    settings: SegmentationStudySettings

    def sets(self) -> Mapping[str, SetSettings]:
        """Return clips to pre-train on and clips with masks."""
        data = self.settings.data
        masks = SetSettings(
            task="segmentation",
            clips=data.clips,
            patients=data.patients,
            positive=1.0,
            published_layout=False,
            split=(0.6, 0.2, 0.2),
            render=data.render(data.size, data.size, labelled=True),
        )
        return {"pretrain": data.pretrain_set(data.size, data.size), "masks": masks}

    def arms(self) -> list[str]:
        """Return the arms."""
        return list(self.settings.arms)

    def group(self, cell: Cell) -> str:
        """Return one group for all cells: they share pre-trained encoders, which are not trained per seed."""
        return "all"

    def dependencies(self, arm: str) -> Any:
        """Return all settings but other arms and objectives."""
        values = to_dict(self.settings)
        del values["seeds"]
        own = values.pop("arms")[arm]
        objective = values.pop("objectives").get(own["start"])
        return {**values, "arm": own, "objective": objective}

    def run(self, cell: Cell, folder: Path) -> Result:
        """Fine-tune and score."""
        arm = self.settings.arms[cell.arm]
        source = arm.source
        if source is None and arm.start != SCRATCH:
            source = str(self._pretrained(arm.start))
        config = self.settings.fine_tuning(arm, cell.seed, self.root / "masks", source)
        clock = time.perf_counter()
        outcome = finetune(RECIPE, config, folder / "run", progress=False)
        require_finished(outcome.finished)
        report = json.loads((folder / "run/report/report.json").read_text(encoding="utf-8"))
        sheet = self.root / "sheets" / f"{cell.arm}-{cell.seed}.png"
        sheet.parent.mkdir(exist_ok=True)
        shutil.copyfile(folder / "run/report/worst.png", sheet)
        return {
            "metrics": {name: row["value"] for name, row in report["metrics"].items()},
            "parameters_learning": report["settings"]["parameters_learning"],
            "steps": outcome.step,
            "wall_seconds": time.perf_counter() - clock,
            "stills": self._score_stills(folder, config),
        }

    def encoder_folder(self, objective: str) -> Path:
        """Return the folder of an objective's pre-training run, which all arms and seeds that start from it share."""
        # The name changes with the settings: a finished encoder is reused without reading its settings again.
        values = to_dict(self.settings)
        shared = [values["data"], values["encoder"], values["pretrain"], values["objectives"][objective]]
        return self.root / "pretrained" / f"{objective}-{digest(shared)}"

    def _pretrained(self, objective: str) -> Path:
        """Return the encoder of an objective; trains it, or resumes its training, if it is not there."""
        settings, folder = self.settings, self.encoder_folder(objective)
        if not (folder / "export").is_dir():
            values = {
                "objective": to_dict(settings.objectives[objective]),
                "data": {"clips": [str(self.root / "pretrain")]},
                "model": {"encoder": to_dict(settings.encoder), "name": objective},
                "run": dict(settings.pretrain),
            }
            require_finished(pretrain(load_config(PretrainConfig, values), folder, progress=False).finished)
        return folder / "export"

    def _score_stills(self, folder: Path, config: SegmentationConfig) -> dict[str, float] | None:
        """Score the model on real polyp pictures that are moved by a virtual camera.

        A sanity check and nothing more: there are five of them.
        """
        stills = None if self.media is None else Path(self.media) / "animated_stills"
        if stills is None or not stills.is_dir():
            return None
        videos = sorted(stills.glob("*.mp4"))
        listing = folder / "stills.csv"
        lines = [f"{video.resolve()},{video.resolve().with_name(f'{video.stem}_masks')}" for video in videos]
        listing.write_text("\n".join(["frames,masks", *lines]) + "\n", encoding="utf-8")
        model = EndoFMForSegmentation.from_pretrained(folder / "run/export")
        scores = run_segmenter(model, read_list(listing, part="test"), **config.evaluation.options("bright"))
        return {name: mask_metrics(scores)[name] for name in ("dice_clip", "dice_frame")}

    def summarize(self, arm: str, results: Sequence[Result]) -> dict[str, Any]:
        """Return metrics, trainable parameters, cost, and the number of the paper."""
        stills = [r["stills"]["dice_clip"] for r in results if r["stills"]]
        return {
            "metrics": {name: over_seeds([r["metrics"][name] for r in results]) for name in METRICS},
            "stills_dice": over_seeds(stills) if stills else None,
            "parameters_learning": results[0]["parameters_learning"],
            "steps": results[0]["steps"],
            "wall_seconds": float(np.mean([r["wall_seconds"] for r in results])),
            "paper_dice": PAPER.get(arm),
        }

    @classmethod
    def table(cls, summary: Mapping[str, Any]) -> str:
        """Return metrics and cost of every arm."""
        heads = ["", *METRICS.values(), "trainable", "s", "real stills, Dice", "paper, CVC-12k Dice"]
        rows = []
        for arm, row in summary["arms"].items():
            cells = [arm, *(plus_minus(row["metrics"][name], 1 if name == "hd95_frame" else 100) for name in METRICS)]
            cells += [f"{row['parameters_learning'] / 1e6:.2f} M", f"{row['wall_seconds']:.0f}"]
            cells.append(plus_minus(row["stills_dice"]) if row["stills_dice"] else "")
            cells.append(f"{row['paper_dice']:.1f}" if row["paper_dice"] else "")
            rows.append(cells)
        return markdown_table(heads, rows)

    @classmethod
    def plot(cls, summary: Mapping[str, Any], path: Path) -> None:
        """Draw the clip Dice of every arm."""
        values = {arm: row["metrics"]["dice_clip"] for arm, row in summary["arms"].items()}
        plot_arms(path, {"Dice per clip, rendered test patients (%)": [Series(values)]})

    @classmethod
    def facts(cls, summary: Mapping[str, Any]) -> str:
        """Return the sizes of data and encoder, and the steps."""
        config = summary["config"]
        data, encoder = config["data"], config["encoder"]
        return (
            f"HD95 is in pixels. {data['clips']} clips with masks of {data['patients']} patients, {data['frames']} "
            f"frames of {data['size']} pixels, a fifth of the patients for test; {config['steps']} steps for every arm."
            f" Encoder: {encoder['depth']} blocks, {encoder['embed_dim']} wide."
        )
