"""Initial weights of the arms: model folders, which pre-training makes where they are missing."""

from __future__ import annotations

import csv
import json
import time
from dataclasses import replace
from pathlib import Path

from endofm import EndoFM
from endofm.config import ModelConfig, PreprocessConfig
from endofm.errors import EndoFMError
from endofm.files import atomic_path, write_text
from endofm.hub.model_folder import CONFIG_NAME, save_folder
from endofm.json_text import read_json
from endofm.models.encoder import VideoTransformer
from endofm.training.engine.random_state import seed_all
from endofm.training.pretrain import pretrain
from endofm.training.pretrain_config import InitConfig, PretrainConfig, PretrainDataConfig, PretrainModelConfig
from endofm.training.run_config import RunConfig
from studies.real_study.labelled_items import CopyFolder, kept_items
from studies.real_study.plan import Arm, Stage, StudyPlan, digest
from studies.real_study.tasks import unlabelled

EPOCHS = 100_000
"""More than any run has: the number of steps ends it."""

SECONDS = "study-seconds.json"
"""File with the cost of a stage, in the folder of its run."""


def starting_weights(plan: StudyPlan, arm: Arm, seed: int, frames: int, real: Path, work: Path) -> tuple[Path, float]:
    """Return the model folder that an arm starts fine-tuning from, and the seconds of one core that it took.

    Args:
        plan: The study.
        arm: The arm.
        seed: Seed of random weights and of pre-training.
        frames: Frames of the clips of the task.
        real: Folder of the real images.
        work: Folder of runs and copies.
    """
    if arm.image_network:
        from studies.real_study.image_network import write_image_network

        return write_image_network(work / f"image-network-{frames}", frames), 0.0
    folder, seconds = _random_weights(plan, seed, work), 0.0
    for stage in arm.stages:
        folder = _trained(plan, stage, seed, folder, real, work)
        seconds += read_json(folder.parent / SECONDS)["seconds"]
    return _with_frames(folder, frames), seconds


def _random_weights(plan: StudyPlan, seed: int, work: Path) -> Path:
    folder = work / "encoders" / f"random-{digest(plan.shared())}-{seed}" / "export"
    # A stopped process may leave a folder without its configuration, which is written last.
    if not (folder / CONFIG_NAME).is_file():
        seed_all(seed)
        size = plan.encoder.img_size
        preprocess = PreprocessConfig.whole_frame(size, num_frames=plan.encoder.num_frames, antialias=True)
        config = ModelConfig(encoder=plan.encoder, preprocess=preprocess, trained=False)
        save_folder(folder, config=config, state_dict=VideoTransformer(plan.encoder).state_dict())
    return folder


def _trained(plan: StudyPlan, stage: Stage, seed: int, start: Path, real: Path, work: Path) -> Path:
    # The name of the start holds the settings of all stages before.
    key = digest([*plan.shared(), start.parent.name, stage.settings()])
    run = work / "encoders" / f"{stage.objective.name}-{key}-{seed}"
    if (run / SECONDS).exists():
        return run / "export"
    config = PretrainConfig(
        objective=stage.objective,
        data=PretrainDataConfig(stills=(str(_unlabelled_list(real, work)),), camera=plan.camera),
        init=InitConfig(source=str(start)),
        model=PretrainModelConfig(name="study"),
        run=RunConfig(
            epochs=EPOCHS,
            max_steps=stage.steps,
            batch_size=stage.batch_size,
            precision="32-true",
            accelerator="cpu",
            num_workers=0,
            seed=seed,
            checkpoint_every_epochs=EPOCHS,
            checkpoint_every_steps=max(stage.steps // 4, 1),
            validate_every_epochs=EPOCHS,
            keep=1,
            log_every=50,
            loggers=("csv",),
            on_unhealthy="warn",
        ),
    )
    begun = time.process_time()
    if not pretrain(config, run, progress=False).finished:
        raise EndoFMError("the study was interrupted; rerun the command to resume")
    seconds = time.process_time() - begun
    write_text(run / SECONDS, json.dumps({"seconds": seconds}) + "\n")
    print(f"{stage.objective.name}, seed {seed}: {seconds:.0f} s of one core, {stage.cpu_seconds:.0f} s were planned")
    return run / "export"


def _unlabelled_list(real: Path, work: Path) -> Path:
    copies = CopyFolder(work / "copies")
    items = kept_items(work / "items" / "unlabelled.json", lambda: unlabelled(real, copies), parts=("train",))
    path = work / "items" / "unlabelled.csv"
    if not path.is_file():
        with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            rows = [(str((work / "copies" / item.file).resolve()), "") for item in items]
            csv.writer(file).writerows([("path", "label"), *rows])
    return path


def _with_frames(folder: Path, frames: int) -> Path:
    """Return a copy of a model folder whose clips have another number of frames."""
    copy = folder.parent / f"export-{frames}"
    if not (copy / CONFIG_NAME).is_file():
        model = EndoFM.from_pretrained(folder)
        preprocess = replace(model.config.preprocess, num_frames=frames)
        save_folder(copy, config=replace(model.config, preprocess=preprocess), state_dict=model.state_dict())
    return copy
