"""Fine-tuning a mask model: data, model, transfer and the loop, put together from one configuration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from endofm.config import EncoderConfig, PreprocessConfig
from endofm.config import ModelConfig as WholeConfig
from endofm.data.loader import ClipLoader
from endofm.data.segmentation.mask_reading import require_readable
from endofm.data.segmentation.masked_clips import MaskedClip
from endofm.evaluation.bootstrap import BootstrapSettings
from endofm.evaluation.mask_metrics import ClipScores
from endofm.evaluation.run_segmenter import run_segmenter
from endofm.evaluation.segmentation_report import SegmentationReport
from endofm.evaluation.worst_frames import WorstFrames
from endofm.hub.encoder_tensors import default_preprocess
from endofm.tasks.features.model import EndoFM
from endofm.tasks.segmentation.config import SegmentationHeadConfig
from endofm.tasks.segmentation.layout import published_preprocess
from endofm.tasks.segmentation.model import EndoFMForSegmentation
from endofm.training.config_schema import to_dict
from endofm.training.engine.devices import choose_accelerator
from endofm.training.engine.feed import clip_loader
from endofm.training.engine.fit import RunResult, fit
from endofm.training.engine.random_state import seed_all
from endofm.training.engine.training_task import LoaderSpec
from endofm.training.finetune.seeds import REPORT_FOLDER, is_first_process, run_seeds
from endofm.training.finetune.segmentation.config import ModelConfig, SegmentationConfig
from endofm.training.finetune.segmentation.data import MaskedClipSource
from endofm.training.finetune.segmentation.subsets import read_subsets
from endofm.training.finetune.segmentation.task import SegmentationTask
from endofm.training.finetune.subsets import Subsets
from endofm.training.transfer.base import count_trainable
from endofm.training.transfer.methods import apply_transfer


def finetune_segmentation(config: SegmentationConfig, folder: str | Path, *, progress: bool = True) -> RunResult:
    """Fine-tune a mask model, or go on with it if the folder holds a part of this run.

    Args:
        config: All settings.
        folder: Folder of the run. At the end ``export`` in it is a model folder for
            ``EndoFMForSegmentation.from_pretrained``, and ``report`` holds scores and a sheet of the worst frames. With
            several seeds each has a folder of its own below, and ``seeds.json`` has mean and deviation.
        progress: Show progress.

    Returns:
        How the run ended, the last one if there are several seeds.

    Raises:
        EndoFMError: As :func:`~endofm.training.engine.fit.fit`, and if data or initial weights cannot be read.

    Example:
        >>> from endofm.training.config_files import load_config
        >>> config = load_config(SegmentationConfig, "mine.yaml", ["transfer=lora"])  # doctest: +SKIP
        >>> finetune_segmentation(config, "runs/mine").folder  # doctest: +SKIP
        PosixPath('runs/mine')
    """
    return run_seeds(config, folder, partial(_one_run, progress=progress))


def build_segmenter(config: ModelConfig, labels: tuple[str, ...]) -> EndoFMForSegmentation:
    """Return the mask model that a run begins with; new weights are drawn from torch's global generator.

    Args:
        config: Where its encoder comes from, and what is put on it.
        labels: Names of the classes, background first.

    Raises:
        WeightsError: If the encoder cannot be loaded.
    """
    head = SegmentationHeadConfig(
        labels=labels,
        network=config.network,
        dropout=config.dropout,
        stem_width=config.stem_width,
        stem_units=config.stem_units,
        decoder_widths=config.decoder_widths,
        light_width=config.light_width,
    )
    start = EndoFM.from_pretrained(config.source) if config.source is not None else None
    encoder = start.config.encoder if start is not None else config.encoder or EncoderConfig()
    if config.frames_only:
        encoder = replace(encoder, attention_type="space_only", st_adapter=None)
    known = start.config.preprocess if start is not None else default_preprocess(encoder)
    whole = WholeConfig(
        encoder=replace(encoder, drop_path_rate=config.drop_path_rate),
        preprocess=_preprocess(config, encoder.img_size, known),
        head=head,
        license=start.config.license if start is not None else "",
        trained=False,
    )
    model = EndoFMForSegmentation(whole, provenance=start.provenance if start is not None else None)
    if start is not None:
        tensors = start.state_dict()
        model.backbone.load_state_dict({name: tensors[name] for name in model.backbone.state_dict()})
    return model


def _preprocess(config: ModelConfig, img_size: int, known: PreprocessConfig) -> PreprocessConfig:
    size = config.image_size or img_size
    if config.preprocess == "published":
        made = published_preprocess(size)
    else:
        made = PreprocessConfig.whole_frame(
            size,
            num_frames=known.num_frames,
            window_seconds=known.window_seconds,
            mean=known.mean,
            std=known.std,
        )
    return replace(made, num_frames=config.num_frames or made.num_frames)


def _one_run(config: SegmentationConfig, folder: Path, *, progress: bool) -> RunResult:
    data = config.data
    subsets = read_subsets(data, seed=config.run.seed)
    for clips in (subsets.train, subsets.validation, subsets.test or ()):
        require_readable(clips, rule=data.masks, num_classes=len(data.labels))
    seed_all(config.run.seed)
    model = build_segmenter(config.model, data.labels)
    transfer = apply_transfer(model, config.transfer)

    def validate(segmenter: EndoFMForSegmentation) -> list[ClipScores]:
        return run_segmenter(segmenter, subsets.validation, **config.evaluation.options(data.masks))

    task = SegmentationTask(model, transfer, config, validator=validate)
    learning = count_trainable(model)
    result = fit(task, _loader(config, subsets.train, model), config.run, folder, config=config, progress=progress)
    if result.finished and is_first_process():
        _report(config, folder, subsets, learning, list(task.odd_frames))
    return result


def _loader(
    config: SegmentationConfig, clips: Sequence[MaskedClip], model: EndoFMForSegmentation
) -> Callable[[LoaderSpec], ClipLoader]:
    source = MaskedClipSource(clips, config.data, config.augment, model.processor, seed=config.run.seed)
    return partial(clip_loader, source)


def _report(
    config: SegmentationConfig, folder: Path, subsets: Subsets[list[MaskedClip]], learning: int, odd: list[str]
) -> None:
    """Score the exported model, on the test set if there is one, and write what was found."""
    model = EndoFMForSegmentation.from_pretrained(folder / "export", device=choose_accelerator(config.run))
    clips, name, notes = subsets.reported()
    notes += odd
    worst = WorstFrames(config.evaluation.worst)
    scores = run_segmenter(model, clips, **config.evaluation.options(config.data.masks), worst=worst, notes=notes)
    settings: dict[str, Any] = {
        "set": name,
        "network": config.model.network,
        "transfer": to_dict(config.transfer),
        "parameters_learning": learning,
        "start": "random weights" if config.model.source is None else Path(config.model.source).name,
        "seed": config.run.seed,
        "clips": {"train": len(subsets.train), "validation": len(subsets.validation), name: len(clips)},
        "evaluation": to_dict(config.evaluation),
    }
    report = SegmentationReport.of(
        scores,
        model.labels,
        settings=settings,
        notes=notes,
        bootstrap=BootstrapSettings(resamples=config.evaluation.resamples),
        worst=worst if config.evaluation.worst else None,
    )
    report.save(folder / REPORT_FOLDER)
