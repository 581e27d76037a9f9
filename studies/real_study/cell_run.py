"""One cell of the study: fine-tuning with the package's own recipes, and the score of every item."""

from __future__ import annotations

import csv
import json
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from endofm.data.clip_dataset import ClipDataset
from endofm.data.clip_table import ClipTable
from endofm.data.clip_views import EvaluationPixels, WindowView
from endofm.data.loader import ClipSource
from endofm.errors import EndoFMError
from endofm.models.pretrained import Pretrained
from endofm.training.config_files import load_config
from endofm.training.finetune import classification_recipe, detection_recipe, segmentation_recipe
from endofm.training.finetune.classification_config import ClassificationConfig
from endofm.training.finetune.detection_config import DetectionConfig
from endofm.training.finetune.recipe import TaskRecipe
from endofm.training.finetune.run import finetune
from endofm.training.finetune.segmentation_config import SegmentationConfig
from endofm.training.finetune.shared_config import FineTuneConfig
from studies.real_study.labelled_items import (
    SIDE,
    CopyFolder,
    Item,
    kept_items,
    with_fraction,
    write_boxes,
    write_labels,
)
from studies.real_study.plan import Cell, StudyPlan
from studies.real_study.pretrained_arms import starting_weights
from studies.real_study.tasks import TASKS, Kind, RealTask


class PlainViews(classification_recipe.ClassificationRecipe):
    """Classification on the same pixels in every epoch, whose maps a frozen image network computes once."""

    def training_data(self, config: ClassificationConfig, train: ClipTable, model: Pretrained) -> ClipSource:
        """Return clips as evaluation sees them."""
        preprocess = model.config.preprocess
        pixels = EvaluationPixels(preprocess)
        return ClipDataset(
            train,
            sampler=WindowView(preprocess.num_frames, preprocess.window_seconds),
            transform=lambda frames, generator: pixels(frames, generator)[0],
            seed=config.run.seed,
        )


@dataclass(frozen=True)
class _Recipe:
    """Fine-tuning of a kind of task, and the place of the items' scores in its report.

    Attributes:
        recipe: Recipe of fine-tuning.
        config: Class of its settings.
        table: Table of the report with a row per item.
        name: Its column of names.
        score: Its column of scores; of classification the probability of the second class.
        plain: Settings for a frozen image network, which sees every image unchanged.
    """

    recipe: TaskRecipe[Any, Any]
    config: type[FineTuneConfig]
    table: str
    name: str
    score: str
    plain: Mapping[str, Any]


RECIPES: dict[Kind, _Recipe] = {
    "classification": _Recipe(classification_recipe.RECIPE, ClassificationConfig, "predictions.csv", "id", "p({})", {}),
    "segmentation": _Recipe(
        segmentation_recipe.RECIPE,
        SegmentationConfig,
        "clips.csv",
        "id",
        "dice_clip",
        {"data": {"augment": "none"}, "model": {"image_size": SIDE}},
    ),
    "detection": _Recipe(
        detection_recipe.RECIPE,
        DetectionConfig,
        "videos.csv",
        "video",
        "ap50",
        {"data": {"flip": 0.0}, "model": {"size": SIDE}},
    ),
}


def task_items(name: str, real: Path, work: Path) -> list[Item]:
    """Return the items of a task, ordered by name; their copies are written the first time."""
    return kept_items(work / "items" / f"{name}.json", lambda: TASKS[name].items(real, CopyFolder(work / "copies")))


def run_cell(plan: StudyPlan, cell: Cell, real: Path, work: Path) -> dict[str, Any]:
    """Fine-tune and score a cell, or resume it.

    Args:
        plan: The study.
        cell: The cell.
        real: Folder of the real images.
        work: Folder of runs and copies, which another run may have filled in part.

    Returns:
        ``values``: score of every item of the part ``val``, in the order of :func:`task_items`; ``seconds`` of one core
        for the fine-tuning and ``pretraining_seconds`` for all stages, of the last sitting alone where they were
        interrupted; ``labels``: items trained on.
    """
    task, arm = TASKS[cell.task], plan.arms[cell.arm]
    items = with_fraction(task_items(cell.task, real, work), cell.fraction, cell.seed)
    start, pretraining_seconds = starting_weights(plan, arm, cell.seed, task.frames, real, work)
    folder = work / "cells" / f"{cell.name}-{plan.digest(cell)}"
    parts = {part: [item for item in items if item.part == part] for part in ("train", "val")}
    recipe = RECIPES[task.kind]
    config = _settings(plan, cell, task, start, parts, work / "copies", folder)
    begun = time.process_time()
    chosen: TaskRecipe[Any, Any] = (
        PlainViews() if arm.image_network and task.kind == "classification" else recipe.recipe
    )
    if not finetune(chosen, config, folder / "run", progress=False).finished:
        raise EndoFMError("the study was interrupted; rerun the command to resume")
    seconds = time.process_time() - begun
    found = _item_scores(folder / "run" / "report" / recipe.table, recipe, task, work / "copies")
    missing = [item.name for item in parts["val"] if _key(item, task) not in found]
    if missing:
        raise EndoFMError(f"{cell.name}: {len(missing)} items were not scored, the first: {missing[0]}")
    shutil.rmtree(folder / "run" / "checkpoints", ignore_errors=True)
    return {
        "values": [found[_key(item, task)] for item in parts["val"]],
        "seconds": round(seconds, 1),
        "pretraining_seconds": round(pretraining_seconds, 1),
        "labels": len(parts["train"]),
    }


def _settings(
    plan: StudyPlan,
    cell: Cell,
    task: RealTask,
    start: Path,
    parts: Mapping[str, list[Item]],
    copies: Path,
    folder: Path,
) -> FineTuneConfig:
    arm, recipe = plan.arms[cell.arm], RECIPES[task.kind]
    values: dict[str, Any] = json.loads(json.dumps(plan.finetune[task.kind]))
    plain = recipe.plain if arm.image_network else {}
    data = {**values.get("data", {}), **plain.get("data", {})}
    if task.kind == "detection":
        files = {part: write_boxes(parts[part], task.labels[0], copies, folder / f"{part}.json") for part in parts}
        data |= {"train": str(files["train"]), "validation": str(files["val"])}
        # As all detectors began when the study was planned; by now others begin at a stride.
        values["published"] = {"zero_distances": True}
    else:
        files = {part: write_labels(parts[part], copies, folder / f"{part}.csv") for part in parts}
        data |= {"train": [str(files["train"])], "validation": [str(files["val"])]}
        data |= {"classes": list(task.labels)} if task.kind == "classification" else {}
        data |= {"labels": list(task.labels), "masks": task.mask_values} if task.kind == "segmentation" else {}
    values["data"] = data
    values["model"] = {**values.get("model", {}), **plain.get("model", {}), "source": str(start)}
    values["transfer"] = arm.transfer
    values["run"] = {**values["run"], "seed": cell.seed}
    return load_config(recipe.config, values)


def _key(item: Item, task: RealTask) -> str:
    return item.name if task.kind == "detection" else item.file


def _item_scores(path: Path, recipe: _Recipe, task: RealTask, copies: Path) -> dict[str, float]:
    """Return the score of every item by its name in the report: its file below the copies, or its name."""
    column = recipe.score.format(task.labels[-1])
    prefix = f"{copies.resolve()}/"
    with path.open(newline="", encoding="utf-8") as file:
        return {row[recipe.name].removeprefix(prefix): float(row[column] or 0) for row in csv.DictReader(file)}
