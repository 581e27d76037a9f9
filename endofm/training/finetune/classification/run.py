"""Fine-tuning a classifier: data, model, transfer and the loop, put together from one configuration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from endofm.config import EncoderConfig
from endofm.config import ModelConfig as WholeConfig
from endofm.data.class_targets import Targets
from endofm.data.clip_dataset import ClipDataset
from endofm.data.clip_table import ClipTable
from endofm.data.clip_views import PublishedFrames, TrainingPixels
from endofm.data.frame_samplers import FrameSampler, RandomWindow
from endofm.data.loader import ClipLoader
from endofm.evaluation.bootstrap import BootstrapSettings
from endofm.evaluation.classification_report import ClassificationReport
from endofm.evaluation.predictions import Predictions
from endofm.evaluation.run_classifier import run_classifier
from endofm.hub.encoder_tensors import default_preprocess
from endofm.tasks.classification.config import ClassificationHeadConfig
from endofm.tasks.classification.layout import published_preprocess
from endofm.tasks.classification.model import EndoFMForVideoClassification
from endofm.tasks.features.model import EndoFM
from endofm.training.config_schema import to_dict
from endofm.training.engine.devices import choose_accelerator
from endofm.training.engine.feed import clip_loader
from endofm.training.engine.fit import RunResult, fit
from endofm.training.engine.random_state import seed_all
from endofm.training.engine.training_task import LoaderSpec
from endofm.training.finetune.classification.config import ClassificationConfig, ModelConfig
from endofm.training.finetune.classification.task import ClassificationTask
from endofm.training.finetune.seeds import REPORT_FOLDER, is_first_process, run_seeds
from endofm.training.finetune.splits import read_subsets
from endofm.training.finetune.subsets import Subsets
from endofm.training.transfer.base import count_trainable
from endofm.training.transfer.image_encoder import classifier_on_timm, without_time
from endofm.training.transfer.methods import apply_transfer


def finetune_classification(config: ClassificationConfig, folder: str | Path, *, progress: bool = True) -> RunResult:
    """Fine-tune a video classifier, or go on with it if the folder holds a part of this run.

    Args:
        config: All settings.
        folder: Folder of the run. At the end ``export`` in it is a model folder for
            ``EndoFMForVideoClassification.from_pretrained``, and ``report`` holds scores and pictures. With several
            seeds each has a folder of its own below, and ``seeds.json`` has mean and deviation.
        progress: Show progress.

    Returns:
        How the run ended, the last one if there are several seeds.

    Raises:
        EndoFMError: As :func:`~endofm.training.engine.fit.fit`, and if data or initial weights cannot be read.

    Example:
        >>> from endofm.training.config_files import load_config
        >>> config = load_config(ClassificationConfig, "mine.yaml", ["transfer=lora"])  # doctest: +SKIP
        >>> finetune_classification(config, "runs/mine").folder  # doctest: +SKIP
        PosixPath('runs/mine')
    """
    return run_seeds(config, folder, partial(_one_run, progress=progress))


def build_classifier(
    config: ModelConfig, labels: tuple[str, ...], *, multi_label: bool
) -> EndoFMForVideoClassification:
    """Return the classifier that a run begins with; new weights are drawn from torch's global generator.

    Args:
        config: Where its encoder comes from.
        labels: Names of the classes.
        multi_label: Whether several labels may hold.

    Raises:
        WeightsError: If the encoder cannot be loaded.
    """
    head = ClassificationHeadConfig(
        labels=labels, multi_label=multi_label, thresholds=config.thresholds, dropout=config.dropout
    )
    if config.timm is not None:
        model = classifier_on_timm(config.timm, head)
    elif config.source is not None:
        encoder = EndoFM.from_pretrained(config.source)
        build = without_time if config.frames_only else EndoFMForVideoClassification.from_backbone
        model = build(encoder, head)
    else:
        form = config.encoder or EncoderConfig()
        if config.frames_only:
            form = replace(form, attention_type="space_only")
        whole = WholeConfig(encoder=form, preprocess=default_preprocess(form), head=head, trained=False)
        model = EndoFMForVideoClassification(whole)
    return _adjusted(model, config)


def _adjusted(model: EndoFMForVideoClassification, config: ModelConfig) -> EndoFMForVideoClassification:
    """Return the model with the preprocessing and stochastic depth that are asked for."""
    whole = model.config
    preprocess = published_preprocess(whole.encoder) if config.preprocess == "published" else whole.preprocess
    if config.window_seconds is not None:
        preprocess = replace(preprocess, window_seconds=config.window_seconds)
    encoder = replace(whole.encoder, drop_path_rate=config.drop_path_rate)
    built = EndoFMForVideoClassification(
        replace(whole, encoder=encoder, preprocess=preprocess), provenance=model.provenance
    )
    built.load_state_dict(model.state_dict())
    return built


def _one_run(config: ClassificationConfig, folder: Path, *, progress: bool) -> RunResult:
    data = config.data
    subsets = read_subsets(
        data.train,
        data.validation,
        data.test,
        classes=() if data.multi_label else data.classes,
        root=data.root,
        fraction=data.validation_fraction,
        select_on_test=data.select_on_test,
        all_labels=data.multi_label,
        seed=config.run.seed,
    )
    targets = Targets.of(subsets.train.classes, multi_label=data.multi_label, classes=data.classes)
    for table in (subsets.train, subsets.validation, *([subsets.test] if subsets.test else [])):
        targets.of_clips(table)
    seed_all(config.run.seed)
    model = build_classifier(config.model, targets.labels, multi_label=targets.multi_label)
    transfer = apply_transfer(model, config.transfer)
    head = model.head_config
    preprocess = model.config.preprocess

    def judge(classifier: EndoFMForVideoClassification, table: ClipTable) -> Predictions:
        views = config.evaluation
        return run_classifier(
            classifier,
            table,
            targets,
            head,
            preprocess,
            published_frames=data.clips == "upstream",
            views=views.time_views,
            crops=views.crops,
            batch_size=views.batch_size,
            num_workers=min(config.run.num_workers, 2),
        )

    task = ClassificationTask(
        model,
        transfer,
        config,
        targets,
        weights=targets.weights(subsets.train) if data.class_weights == "balanced" else None,
        validator=lambda classifier: judge(classifier, subsets.validation),
    )
    learning = count_trainable(model)
    result = fit(task, _loader(config, subsets.train, model), config.run, folder, config=config, progress=progress)
    if result.finished and is_first_process():
        _report(config, folder, subsets, judge, learning)
    return result


def _loader(
    config: ClassificationConfig, table: ClipTable, model: EndoFMForVideoClassification
) -> Callable[[LoaderSpec], ClipLoader]:
    preprocess = model.config.preprocess
    frames = preprocess.num_frames
    sampler: FrameSampler = RandomWindow(frames, preprocess.window_seconds)
    if config.data.clips == "upstream":
        sampler = PublishedFrames(frames, None)

    pixels = TrainingPixels(preprocess)
    # The original keeps the last, smaller batch.
    return partial(clip_loader, ClipDataset(table, sampler=sampler, transform=pixels, seed=config.run.seed))


def _report(
    config: ClassificationConfig,
    folder: Path,
    subsets: Subsets[ClipTable],
    judge: Callable[[EndoFMForVideoClassification, ClipTable], Predictions],
    learning: int,
) -> None:
    """Score the exported model, on the test set if there is one, and write what was found."""
    model = EndoFMForVideoClassification.from_pretrained(folder / "export", device=choose_accelerator(config.run))
    table, name, notes = subsets.reported()
    settings: dict[str, Any] = {
        "set": name,
        "transfer": to_dict(config.transfer),
        "parameters_learning": learning,
        "start": _start_in_words(config.model),
        "seed": config.run.seed,
        "clips": {"train": len(subsets.train), "validation": len(subsets.validation), name: len(table)},
        "views": {"time": config.evaluation.time_views, "crops": config.evaluation.crops, "rule": config.data.clips},
    }
    report = ClassificationReport.of(
        judge(model, table),
        settings=settings,
        notes=notes,
        bootstrap=BootstrapSettings(resamples=config.evaluation.resamples),
    )
    report.save(folder / REPORT_FOLDER, pictures=config.evaluation.pictures)


def _start_in_words(config: ModelConfig) -> str:
    if config.timm is not None:
        return f"timm {config.timm}"
    return "random weights" if config.source is None else Path(config.source).name
