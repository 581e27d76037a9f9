"""Fine-tuning recipe of segmentation: clips with masks, cross-entropy and Dice, scores per clip and frame."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from endofm.config import ModelConfig, PreprocessConfig
from endofm.data.hold_out import hold_out
from endofm.data.loader import ClipSource
from endofm.data.same_files import identities, join_groups
from endofm.data.segmentation.mask_reading import require_readable
from endofm.data.segmentation.masked_clips import MaskedClip, read_list
from endofm.data.stills.labelled_stills import masked_stills
from endofm.evaluation.bootstrap import BootstrapSettings
from endofm.evaluation.mask_metrics import ClipScores, mask_metrics
from endofm.evaluation.report import REPORT_FOLDER, Report
from endofm.evaluation.run_segmenter import run_segmenter
from endofm.evaluation.segmentation_report import SegmentationReport
from endofm.evaluation.worst_frames import WorstFrames
from endofm.hub.encoder_tensors import default_preprocess
from endofm.models.pretrained import Pretrained
from endofm.tasks.features.model import load_encoder
from endofm.tasks.segmentation.config import SegmentationHeadConfig
from endofm.tasks.segmentation.layout import published_preprocess
from endofm.tasks.segmentation.mask_loss import mask_loss
from endofm.tasks.segmentation.model import EndoFMForSegmentation
from endofm.training.config_schema import to_dict
from endofm.training.engine.training_task import StepOutput
from endofm.training.finetune.masked_clip_source import MaskedClipSource, MaskedFrames
from endofm.training.finetune.recipe import TaskRecipe
from endofm.training.finetune.segmentation_config import SegmentationConfig
from endofm.training.finetune.subsets import Subsets
from endofm.training.finetune.supervised_task import FineTuningTask, left_out_note
from endofm.training.transfer.base import Transfer


class SegmentationRecipe(TaskRecipe[SegmentationConfig, list[MaskedClip]]):
    """Fine-tuning of a segmentation model on clips with masks."""

    def read_subsets(self, config: SegmentationConfig, *, progress: bool) -> Subsets[list[MaskedClip]]:
        """Read the lists, and the first frame and mask of every clip."""
        subsets = read_subsets(config)
        for clips in (subsets.train, subsets.validation, subsets.test or ()):
            require_readable(clips, rule=config.data.masks, num_classes=len(config.data.labels))
        return subsets

    def build_model(self, config: SegmentationConfig, train: list[MaskedClip]) -> Pretrained:
        """Return the initial segmentation model."""
        return build_segmenter(config)

    def training_data(self, config: SegmentationConfig, train: list[MaskedClip], model: Pretrained) -> ClipSource:
        """Return random views of clips with masks."""
        return MaskedClipSource(
            train,
            config.data,
            config.augment,
            model.processor,
            published_views=config.published.views,
            seed=config.run.seed,
        )

    def training_task(
        self, config: SegmentationConfig, model: Pretrained, transfer: Transfer, subsets: Subsets[list[MaskedClip]]
    ) -> SegmentationTraining:
        """Return training by cross-entropy and Dice with validation by all metrics."""
        assert isinstance(model, EndoFMForSegmentation)
        options = config.evaluation.options(config.data.masks)
        return SegmentationTraining(
            model,
            transfer,
            config,
            validator=lambda segmenter: run_segmenter(segmenter, subsets.validation, **options),
            validated=len(subsets.validation),
        )

    def reports(
        self,
        config: SegmentationConfig,
        model: Pretrained,
        data: list[MaskedClip],
        *,
        settings: Mapping[str, Any],
        notes: Sequence[str],
        progress: bool,
    ) -> Mapping[str, Report]:
        """Segment the clips of the set."""
        assert isinstance(model, EndoFMForSegmentation)
        evaluation, extended = config.evaluation, list(notes)
        worst = WorstFrames(evaluation.worst)
        scores = run_segmenter(model, data, **evaluation.options(config.data.masks), worst=worst, notes=extended)
        extended += left_out_note(len(data) - len(scores), len(data), f"{settings['set']} clips")
        report = SegmentationReport.of(
            scores,
            model.labels,
            settings={**settings, "network": config.model.network, "evaluation": to_dict(evaluation)},
            notes=extended,
            bootstrap=BootstrapSettings(resamples=evaluation.resamples),
            worst=worst,
        )
        return {REPORT_FOLDER: report}


class SegmentationTraining(FineTuningTask):
    """Cross-entropy and Dice over clips.

    Args:
        model: The segmentation model, prepared for its transfer method.
        transfer: The method.
        config: All settings.
        validator: Scores the validation set.
        validated: Clips of the validation set.
    """

    def __init__(
        self,
        model: EndoFMForSegmentation,
        transfer: Transfer,
        config: SegmentationConfig,
        *,
        validator: Callable[[EndoFMForSegmentation], list[ClipScores]] | None = None,
        validated: int = 0,
    ) -> None:
        super().__init__(model, transfer, config, schedule_lag=config.published.schedule_lag)
        self.loss_config, self.validator, self.validated = config.loss, validator, validated
        # A dictionary keeps the order of the first occurrences; a clip comes up in every epoch.
        self._notes: dict[str, None] = {}

    def loss(self, network: Callable[..., Any], batch: Any) -> StepOutput:
        """Compute the loss of a batch of clips with masks."""
        frames: MaskedFrames = batch.frames
        self._notes |= dict.fromkeys(frames.notes)
        logits: Tensor = network(frames.pixels)
        config = self.loss_config
        loss = mask_loss(logits, frames.labels, dice_weight=config.dice_weight, dice_per_clip=config.dice_per_clip)
        return StepOutput(loss.total, {"cross_entropy": loss.cross_entropy.detach(), "dice_loss": loss.dice.detach()})

    def validate(self, epoch: int) -> Mapping[str, float]:
        """Score the validation set."""
        if self.validator is None:
            return {}
        assert isinstance(self.network, EndoFMForSegmentation)
        scores = self.validator(self.network)
        self.unread["validation clips"] = self.validated - len(scores), self.validated
        metrics = mask_metrics(scores)
        # Undefined ones, such as distances where nothing was predicted, are left out; Dice is always defined.
        return {name: value for name, value in metrics.items() if not np.isnan(value)}

    def notes(self) -> Sequence[str]:
        """Return the training frames that hold a single colour."""
        return list(self._notes)


def read_subsets(config: SegmentationConfig) -> Subsets[list[MaskedClip]]:
    """Read the lists of a configuration.

    Of a folder in ``data.train``, the lists ``val`` and ``test`` in it are used unless others are named.

    Raises:
        InputError: If a list cannot be read or is empty, or the lists overlap.
    """
    data = config.data
    left_out: list[str] = []

    def read(part: str, named: Sequence[str]) -> list[MaskedClip]:
        """Return the clips of a part: of the sources that are named for it, else of that part of ``data.train``."""
        missing = left_out if data.allow_missing else None
        if data.camera is not None:
            # Stills that are named for a part belong to it, whatever subset their source states.
            whole = part != "train" and bool(named)
            return masked_stills(named or data.train, None if whole else part, left_out=missing)
        sources = named or _lists_in(data.train, part)
        return [clip for source in sources for clip in read_list(source, part=part, root=data.root, left_out=missing)]

    def held_out(clips: list[MaskedClip]) -> tuple[list[MaskedClip], list[MaskedClip]]:
        groups = [clip.group for clip in clips for _ in clip.files]
        group_of = dict(zip(groups, join_groups(groups, identities(_files(clips))), strict=True))
        return hold_out(clips, lambda clip: group_of[clip.group], data.validation_fraction, config.run.seed)

    train = read("train", data.train)
    validation = read("val", data.validation)
    subsets = Subsets.of(
        train,
        None if data.select_on_test else validation or None,
        read("test", data.test) or None,
        hold_out=held_out,
        groups_of=lambda clips: {clip.group for clip in clips},
        files_of=_files,
        select_on_test=data.select_on_test,
        allow_overlap=data.allow_overlap,
    )
    return replace(subsets, left_out=tuple(left_out))


def _files(clips: Sequence[MaskedClip]) -> list[Path]:
    return [file for clip in clips for file in clip.files]


def build_segmenter(config: SegmentationConfig) -> EndoFMForSegmentation:
    """Return the initial segmentation model of a run; new weights are drawn from torch's global generator.

    Args:
        config: All settings.

    Raises:
        WeightsError: If the encoder cannot be loaded.
    """
    start = config.model
    head = SegmentationHeadConfig(
        labels=config.data.labels,
        network=start.network,
        dropout=start.dropout,
        stem_width=start.stem_width,
        stem_units=start.stem_units,
        decoder_widths=start.decoder_widths,
        light_width=start.light_width,
    )
    source = load_encoder(start.source) if start.source is not None else None
    loaded = source.config if source is not None else ModelConfig(encoder=start.architecture)
    architecture = loaded.encoder
    if start.frames_only:
        architecture = replace(loaded.transformer, attention_type="space_only", st_adapter=None)
    preprocess = source.config.preprocess if source is not None else default_preprocess(architecture)
    described = ModelConfig(
        encoder=replace(architecture, drop_path_rate=start.drop_path_rate),
        preprocess=_preprocess(config, architecture.img_size, preprocess),
        head=head,
        license=source.config.license if source is not None else "",
        trained=False,
    )
    model = EndoFMForSegmentation(described, provenance=source.provenance if source is not None else None)
    if source is not None:
        # Without attention over time, the network has fewer tensors than the source.
        tensors = source.state_dict()
        model.backbone.load_state_dict({name: tensors[name] for name in model.backbone.state_dict()})
    return model


def _preprocess(config: SegmentationConfig, img_size: int, encoder: PreprocessConfig) -> PreprocessConfig:
    """Return the preprocessing of the segmentation model, given that of its encoder."""
    size = config.model.image_size or img_size
    if config.published.views:
        preprocess = published_preprocess(size)
    else:
        preprocess = PreprocessConfig.whole_frame(
            size,
            num_frames=encoder.num_frames,
            window_seconds=encoder.window_seconds,
            mean=encoder.mean,
            std=encoder.std,
        )
    return replace(preprocess, num_frames=config.model.num_frames or preprocess.num_frames)


def _lists_in(sources: Sequence[str], part: str) -> tuple[str, ...]:
    """Return the folders among the sources that hold a list of a part."""
    folders = [Path(source) for source in sources if Path(source).is_dir()]
    lists = {folder: (folder / f"{part}.csv", folder / "lists" / f"{part}.txt") for folder in folders}
    return tuple(str(folder) for folder, files in lists.items() if any(file.is_file() for file in files))


RECIPE = SegmentationRecipe()
