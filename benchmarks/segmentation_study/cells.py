"""One cell of the study: an arm with a seed, fine-tuned and scored; a finished cell is kept."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from settings import StudyConfig

from endofm.data.segmentation.masked_clips import read_list
from endofm.evaluation.mask_metrics import mask_metrics
from endofm.evaluation.run_segmenter import run_segmenter
from endofm.files import atomic_path
from endofm.tasks.segmentation.model import EndoFMForSegmentation
from endofm.training.config_files import load_config
from endofm.training.config_schema import to_dict
from endofm.training.finetune.run import finetune
from endofm.training.finetune.segmentation_recipe import RECIPE
from endofm.training.pretrain import pretrain
from endofm.training.pretrain_config import PretrainConfig


@dataclass(frozen=True)
class Cell:
    """A run to be done.

    Attributes:
        study: The study.
        root: Folder of the study.
        arm: Name of the arm.
        seed: Seed of the run.
        media: Folder with ``animated_stills``, None if there is none.
    """

    study: StudyConfig
    root: Path
    arm: str
    seed: int
    media: Path | None

    @property
    def folder(self) -> Path:
        """Folder of the cell; another configuration has another one."""
        return self.root / "cells" / f"{self.arm}-{self.study.fingerprint(self.arm)}" / f"seed-{self.seed}"


def pretrained(study: StudyConfig, root: Path, objective: str) -> Path:
    """Return the encoder that an objective gives, training it, or going on with its training, if it is not there."""
    folder = root / "pretrained" / objective
    if not (folder / "export").is_dir():
        values = {
            "objective": to_dict(study.objectives[objective]),
            "data": {"clips": [str(root / "pretrain")]},
            "model": {"encoder": to_dict(study.encoder), "name": objective},
            "run": dict(study.pretrain),
        }
        pretrain(load_config(PretrainConfig, values), folder, progress=False)
    return folder / "export"


def run_cell(cell: Cell) -> dict[str, Any]:
    """Fine-tune and score; go on with a run that was stopped."""
    path = cell.folder / "result.json"
    if path.exists():
        done: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return done
    how = cell.study.arms[cell.arm]
    source = how.source
    if source is None and how.start != "scratch":
        source = str(pretrained(cell.study, cell.root, how.start))
    config = cell.study.fine_tuning(cell.arm, cell.seed, cell.root, source)
    clock = time.perf_counter()
    outcome = finetune(RECIPE, config, cell.folder / "run", progress=False)
    report = json.loads((cell.folder / "run/report/report.json").read_text(encoding="utf-8"))
    result = {
        "arm": cell.arm,
        "seed": cell.seed,
        "metrics": {name: row["value"] for name, row in report["metrics"].items()},
        "parameters_learning": report["settings"]["parameters_learning"],
        "steps": outcome.step,
        "wall_seconds": time.perf_counter() - clock,
        "stills": on_stills(cell),
    }
    sheet = cell.root / "sheets" / f"{cell.arm}-{cell.seed}.png"
    sheet.parent.mkdir(exist_ok=True)
    shutil.copyfile(cell.folder / "run/report/worst.png", sheet)
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return result


def on_stills(cell: Cell) -> dict[str, float] | None:
    """Score the model, which saw rendered video alone, on real polyp pictures that were set in motion.

    A check of sanity and nothing more: five pictures, moved by a virtual camera.
    """
    folder = None if cell.media is None else Path(cell.media) / "animated_stills"
    if folder is None or not folder.is_dir():
        return None
    videos = sorted(folder.glob("*.mp4"))
    listing = cell.folder / "stills.csv"
    lines = [f"{video.resolve()},{video.resolve().with_name(f'{video.stem}_masks')}" for video in videos]
    listing.write_text("\n".join(["frames,masks", *lines]) + "\n", encoding="utf-8")
    model = EndoFMForSegmentation.from_pretrained(cell.folder / "run/export")
    config = cell.study.fine_tuning(cell.arm, cell.seed, cell.root, None)
    scores = run_segmenter(model, read_list(listing, part="test"), **config.evaluation.options("bright"))
    return {name: mask_metrics(scores)[name] for name in ("dice_clip", "dice_frame")}
