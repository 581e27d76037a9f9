"""Fine-tuning: data, model, transfer, training loop and report, the same for every task."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from endofm.data.loader import ClipLoader
from endofm.evaluation.report import REPORT_FOLDER, REPORT_NAME, over_seeds, write_json
from endofm.files import require_writable
from endofm.json_text import read_json
from endofm.training.config_schema import to_dict
from endofm.training.engine.devices import choose_accelerator
from endofm.training.engine.distributed import rank
from endofm.training.engine.feed import clip_loader
from endofm.training.engine.fit import RunResult, fit
from endofm.training.engine.random_state import seed_all
from endofm.training.engine.run_folder import RunFolder
from endofm.training.engine.training_task import LoaderSpec
from endofm.training.finetune.recipe import TaskRecipe
from endofm.training.finetune.shared_config import FineTuneConfig
from endofm.training.transfer.base import count_trainable
from endofm.training.transfer.methods import apply_transfer

SEEDS_NAME = "seeds.json"

Config = TypeVar("Config", bound=FineTuneConfig)


def finetune(
    recipe: TaskRecipe[Config, Any], config: Config, folder: str | Path, *, progress: bool = True
) -> RunResult:
    """Fine-tune a model, or resume the run that the folder holds.

    Args:
        recipe: Recipe of the task, for example ``get_task("classification").load("finetuning")``.
        config: All settings.
        folder: Folder of the run. At the end ``export`` in it is a model folder for ``from_pretrained``, and ``report``
            holds scores and pictures. With several seeds each has a folder ``seed-N``, and ``seeds.json`` holds mean
            and standard deviation of every metric.
        progress: Show progress.

    Returns:
        Result of the run; with several seeds, of the first that was interrupted, else of the last.

    Raises:
        EndoFMError: As :func:`~endofm.training.engine.fit.fit`, and if data or initial weights cannot be read.

    Example:
        >>> from endofm.task_table import get_task
        >>> from endofm.training.config_files import load_config
        >>> task = get_task("classification")
        >>> config = load_config(task.load("finetuning_config"), "mine.yaml", ["transfer=lora"])  # doctest: +SKIP
        >>> finetune(task.load("finetuning"), config, "runs/mine").folder  # doctest: +SKIP
        PosixPath('runs/mine')
    """
    folder = Path(folder)
    require_writable(folder)
    if not config.seeds:
        return _run(recipe, config, folder, progress=progress)
    result: RunResult | None = None
    for seed in config.seeds:
        # A finished run only rewrites its report, so that rerunning the command resumes at the first unfinished seed.
        single = replace(config, seeds=(), run=replace(config.run, seed=seed))
        result = _run(recipe, single, folder / f"seed-{seed}", progress=progress)
        if not result.finished:
            return result
    assert result is not None
    if rank() == 0:
        files = [folder / f"seed-{seed}" / REPORT_FOLDER / REPORT_NAME for seed in config.seeds]
        reports = [read_json(file) for file in files]
        write_json(folder / SEEDS_NAME, {"seeds": list(config.seeds), "metrics": over_seeds(reports)})
    return result


def _run(recipe: TaskRecipe[Config, Any], config: Config, folder: Path, *, progress: bool) -> RunResult:
    subsets = recipe.read_subsets(config, progress=progress)
    # Seeded after reading, so that initial weights do not depend on what reading the data draws.
    seed_all(config.run.seed)
    model = recipe.build_model(config, subsets.train)
    transfer = apply_transfer(model, config.transfer)
    recipe.freeze(config, model)
    # Counted before the loop wraps, and under FSDP shards, the model.
    trainable = count_trainable(model)
    task = recipe.training_task(config, model, transfer, subsets)
    source = recipe.training_data(config, subsets.train, model)
    skipped: dict[str, str] = {}
    task.left_out, task.skipped, task.trained = subsets.left_out, skipped, source.items_per_rank(1)

    def data(spec: LoaderSpec) -> ClipLoader:
        loader = clip_loader(source, spec)
        loader.skipped = skipped
        return loader

    result = fit(task, data, config.run, folder, config=config, progress=progress)
    if rank() == 0:
        # A run that was finished before skips nothing now; what it skipped then is in its folder.
        left_out = RunFolder(folder).add_left_out([*subsets.left_out, *task.unread_notes()])
    if result.finished and rank() == 0:
        # The exported model is loaded like a user would load it: the report is about what was written.
        trained = type(model).from_pretrained(folder / "export", device=choose_accelerator(config.run))
        reported, name, notes = subsets.reported()
        settings = {
            "set": name,
            "transfer": to_dict(config.transfer),
            "parameters_learning": trainable,
            "start": config.model.describe(),
            "seed": config.run.seed,
            recipe.unit: {"train": len(subsets.train), "validation": len(subsets.validation), name: len(reported)},
        }
        notes = list(dict.fromkeys([*notes, *left_out, *task.notes()]))
        reports = recipe.reports(config, trained, reported, settings=settings, notes=notes, progress=progress)
        for report_folder, report in reports.items():
            report.save(folder / report_folder, pictures=config.evaluation.pictures)
    return result
