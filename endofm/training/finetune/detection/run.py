"""Fine-tuning a detector: data, model, transfer and the loop, put together from one configuration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch.distributed as dist

from endofm.config import EncoderConfig, ModelConfig
from endofm.data.detection.detection_set import DetectionSet
from endofm.data.detection.samples import DetectionSamples
from endofm.data.loader import ClipLoader
from endofm.evaluation.bootstrap import BootstrapSettings
from endofm.evaluation.detection_records import DetectionResults, check_labels
from endofm.evaluation.detection_report import DetectionReport
from endofm.evaluation.run_detector import run_detector
from endofm.hub.encoder_tensors import default_preprocess
from endofm.tasks.detection.model import EndoFMForDetection
from endofm.tasks.detection.supports import SupportPlan
from endofm.tasks.features.model import EndoFM
from endofm.training.config_schema import to_dict
from endofm.training.engine.devices import choose_accelerator
from endofm.training.engine.distributed import rank, world_size
from endofm.training.engine.feed import clip_loader
from endofm.training.engine.fit import RunResult, fit
from endofm.training.engine.random_state import seed_all
from endofm.training.engine.training_task import LoaderSpec
from endofm.training.finetune.detection.config import DetectionConfig
from endofm.training.finetune.detection.subsets import read_detection_subsets
from endofm.training.finetune.detection.task import DetectionTask
from endofm.training.finetune.seeds import REPORT_FOLDER, is_first_process, run_seeds
from endofm.training.finetune.subsets import Subsets
from endofm.training.transfer.base import count_trainable
from endofm.training.transfer.methods import apply_transfer

UNREFINED_FOLDER = "report_without_refinement"


def finetune_detection(config: DetectionConfig, folder: str | Path, *, progress: bool = True) -> RunResult:
    """Fine-tune a detector, or go on with it if the folder holds a part of this run.

    Args:
        config: All settings.
        folder: Folder of the run. At the end ``export`` in it is a model folder for
            ``EndoFMForDetection.from_pretrained``, and ``report`` holds scores and pictures. With several seeds each
            has a folder of its own below, and ``seeds.json`` has mean and deviation.
        progress: Show progress.

    Returns:
        How the run ended, the last one if there are several seeds.

    Raises:
        EndoFMError: As :func:`~endofm.training.engine.fit.fit`, and if data or initial weights cannot be read.
    """
    return run_seeds(config, folder, partial(_one_run, progress=progress))


def build_detector(config: DetectionConfig, labels: tuple[str, ...]) -> EndoFMForDetection:
    """Return the detector that a run begins with; new weights are drawn from torch's global generator.

    Args:
        config: Where its encoder, or all of it, comes from.
        labels: Names of the classes.

    Raises:
        WeightsError: If the weights cannot be loaded.
    """
    start, data = config.model, config.data
    if start.detector is not None:
        model = EndoFMForDetection.from_pretrained(start.detector)
        encoder = replace(model.config.encoder, drop_path_rate=start.drop_path_rate)
        built = EndoFMForDetection(replace(model.config, encoder=encoder), provenance=model.provenance)
        built.load_state_dict(model.state_dict())
        return built
    together = data.together and not start.published
    head = start.head(labels, clip_frames=data.supports + 1 if together else 1)
    if start.source is not None:
        source = EndoFM.from_pretrained(start.source)
        preprocess = start.preprocess(source.config.preprocess)
        return EndoFMForDetection.from_backbone(
            source, head, preprocess=preprocess, drop_path_rate=start.drop_path_rate
        )
    encoder = replace(start.encoder or EncoderConfig(), drop_path_rate=start.drop_path_rate)
    preprocess = start.preprocess(default_preprocess(encoder))
    return EndoFMForDetection(ModelConfig(encoder=encoder, preprocess=preprocess, head=head, trained=False))


def _one_run(config: DetectionConfig, folder: Path, *, progress: bool) -> RunResult:
    subsets = read_detection_subsets(config.data, seed=config.run.seed, progress=progress)
    seed_all(config.run.seed)
    model = build_detector(config, subsets.train.labels)
    check_labels(subsets.train, model.labels)
    transfer = apply_transfer(model, config.transfer)
    if not config.model.learn_offsets:
        model.freeze_offsets()
    learning = count_trainable(model)
    task = DetectionTask(
        model, transfer, config, validator=lambda detector: _judge(detector, subsets.validation, config)
    )
    result = fit(task, _loader(config, subsets.train, model), config.run, folder, config=config, progress=progress)
    if result.finished and is_first_process():
        _report(config, folder, subsets, learning, progress=progress)
    return result


def _judge(
    model: EndoFMForDetection,
    source: DetectionSet,
    config: DetectionConfig,
    *,
    supports: SupportPlan | None = None,
    shared: bool = True,
    progress: bool = False,
) -> DetectionResults:
    """Run a detector on a set; the videos are shared out over processes, each of which gets all results."""
    processes = world_size() if shared else 1
    places = list(range(len(source)))[rank() if shared else 0 :: processes]
    evaluation = config.evaluation
    own = run_detector(
        model,
        source,
        videos=places,
        every=evaluation.every,
        supports=supports,
        batch_size=evaluation.batch_size,
        progress=progress,
    )
    if processes == 1:
        return own
    gathered: list[Any] = [None] * processes
    dist.all_gather_object(gathered, (places, own.videos))
    videos = {place: video for some, found in gathered for place, video in zip(some, found, strict=True)}
    return DetectionResults(source.labels, tuple(videos[place] for place in sorted(videos)))


def _loader(
    config: DetectionConfig, source: DetectionSet, model: EndoFMForDetection
) -> Callable[[LoaderSpec], ClipLoader]:
    data = config.data
    samples = DetectionSamples(
        source,
        model.config.preprocess,
        supports=data.supports,
        reach=data.reach,
        order=data.order,
        flip=data.flip,
        negatives=data.negatives,
        every=data.every,
        last_pixel_inside=model.head_config.last_pixel_inside,
        seed=config.run.seed,
    )

    return partial(clip_loader, samples)


def _report(
    config: DetectionConfig, folder: Path, subsets: Subsets[DetectionSet], learning: int, *, progress: bool
) -> None:
    """Judge the exported model, on the test set if there is one, and write what was found."""
    model = EndoFMForDetection.from_pretrained(folder / "export", device=choose_accelerator(config.run))
    source, name, notes = subsets.reported()
    start = config.model
    plans = {REPORT_FOLDER: model.support_plan()}
    if config.evaluation.without_refinement:
        plans[UNREFINED_FOLDER] = SupportPlan(count=0)
    for report_folder, plan in plans.items():
        settings = {
            "set": name,
            "transfer": to_dict(config.transfer),
            "parameters_learning": learning,
            "start": start.detector or start.source or "random weights",
            "seed": config.run.seed,
            "supports": {"pattern": plan.pattern, "count": plan.count, "reach": plan.reach, "online": plan.online},
            "videos": {"train": len(subsets.train), "validation": len(subsets.validation), name: len(source)},
        }
        results = _judge(model, source, config, supports=plan, shared=False, progress=progress)
        DetectionReport.of(
            results,
            threshold=config.evaluation.threshold,
            settings=settings,
            notes=notes,
            bootstrap=BootstrapSettings(resamples=config.evaluation.resamples),
        ).save(folder / report_folder, pictures=config.evaluation.pictures)
