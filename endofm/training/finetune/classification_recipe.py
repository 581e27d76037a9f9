"""Fine-tuning recipe of classification: labelled videos, cross-entropy, ROC curves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from endofm.config import ModelConfig
from endofm.data.class_targets import Targets
from endofm.data.clip_dataset import ClipDataset
from endofm.data.clip_table import ClipTable
from endofm.data.clip_views import PublishedFrames, TrainingPixels
from endofm.data.frame_samplers import FrameSampler, RandomWindow
from endofm.data.hold_out import hold_out
from endofm.data.listing import read_clips
from endofm.data.loader import ClipSource
from endofm.data.same_files import identities, join_groups
from endofm.data.stills.layouts import read_stills
from endofm.data.stills.still import still_table
from endofm.errors import InputError
from endofm.evaluation.bootstrap import BootstrapSettings
from endofm.evaluation.classification_metrics import classification_metrics
from endofm.evaluation.classification_report import ClassificationReport
from endofm.evaluation.predictions import Predictions
from endofm.evaluation.report import REPORT_FOLDER, Report
from endofm.evaluation.run_classifier import run_classifier
from endofm.hub.encoder_tensors import default_preprocess
from endofm.models.pretrained import Pretrained
from endofm.tasks.classification.config import ClassificationHeadConfig
from endofm.tasks.classification.layout import published_preprocess
from endofm.tasks.classification.model import EndoFMForVideoClassification
from endofm.tasks.features.model import load_encoder
from endofm.training.engine.training_task import StepOutput
from endofm.training.finetune.classification_config import ClassificationConfig, ClassifierData
from endofm.training.finetune.recipe import TaskRecipe
from endofm.training.finetune.subsets import Subsets
from endofm.training.finetune.supervised_task import FineTuningTask, left_out_note
from endofm.training.transfer.base import Transfer
from endofm.training.transfer.image_encoder import classifier_on_timm, without_time


class ClassificationRecipe(TaskRecipe[ClassificationConfig, ClipTable]):
    """Fine-tuning of a video classifier on lists of labelled videos."""

    def read_subsets(self, config: ClassificationConfig, *, progress: bool) -> Subsets[ClipTable]:
        """Read lists and manifests; a manifest with subsets provides validation and test where none is named."""
        subsets = read_subsets(config)
        targets = _targets(config, subsets.train)
        for table in (subsets.train, subsets.validation, subsets.test):
            if table is not None:
                targets.of_clips(table)
        return subsets

    def build_model(self, config: ClassificationConfig, train: ClipTable) -> Pretrained:
        """Return the initial classifier."""
        return build_classifier(config, _targets(config, train).labels)

    def training_data(self, config: ClassificationConfig, train: ClipTable, model: Pretrained) -> ClipSource:
        """Return randomly cropped clips."""
        preprocess = model.config.preprocess
        frames = preprocess.num_frames
        sampler: FrameSampler = RandomWindow(frames, preprocess.window_seconds)
        if config.published.frames:
            sampler = PublishedFrames(frames, None)
        return ClipDataset(
            train,
            sampler=sampler,
            transform=TrainingPixels(preprocess),
            seed=config.run.seed,
            camera=config.data.camera,
        )

    def training_task(
        self, config: ClassificationConfig, model: Pretrained, transfer: Transfer, subsets: Subsets[ClipTable]
    ) -> ClassificationTraining:
        """Return cross-entropy training with validation by all metrics."""
        assert isinstance(model, EndoFMForVideoClassification)
        targets = _targets(config, subsets.train)
        return ClassificationTraining(
            model,
            transfer,
            config,
            targets,
            class_weights=targets.weights(subsets.train) if config.data.class_weights == "balanced" else None,
            validator=lambda classifier: _predict(classifier, subsets.validation, config, targets),
            validated=len(subsets.validation),
        )

    def reports(
        self,
        config: ClassificationConfig,
        model: Pretrained,
        data: ClipTable,
        *,
        settings: Mapping[str, Any],
        notes: Sequence[str],
        progress: bool,
    ) -> Mapping[str, Report]:
        """Classify the videos of the set."""
        assert isinstance(model, EndoFMForVideoClassification)
        evaluation = config.evaluation
        rule = "published" if config.published.frames else "even"
        views = {"time": evaluation.time_views, "crops": evaluation.crops, "rule": rule}
        predictions = _predict(model, data, config, _targets(config, data))
        report = ClassificationReport.of(
            predictions,
            settings={**settings, "views": views},
            notes=[*notes, *left_out_note(len(data) - len(predictions), len(data), f"{settings['set']} clips")],
            bootstrap=BootstrapSettings(resamples=evaluation.resamples),
        )
        return {REPORT_FOLDER: report}


class ClassificationTraining(FineTuningTask):
    """Cross-entropy, or binary cross-entropies if several labels may hold.

    Args:
        model: The classifier, prepared for its transfer method.
        transfer: The method.
        config: All settings.
        targets: Meaning of the labels.
        class_weights: float32 weight per class; None for equal weights.
        validator: Classifies the validation set.
        validated: Clips of the validation set.
    """

    def __init__(
        self,
        model: EndoFMForVideoClassification,
        transfer: Transfer,
        config: ClassificationConfig,
        targets: Targets,
        *,
        class_weights: np.ndarray[Any, np.dtype[np.float32]] | None = None,
        validator: Callable[[EndoFMForVideoClassification], Predictions] | None = None,
        validated: int = 0,
    ) -> None:
        super().__init__(model, transfer, config, sources=config.data.train)
        self.smoothing = config.data.label_smoothing
        self.rows = torch.from_numpy(targets.rows)
        self.multi_label = targets.multi_label
        self.class_weights = None if class_weights is None else torch.from_numpy(class_weights)
        self.validator, self.validated = validator, validated

    def loss(self, network: Callable[..., Any], batch: Any) -> StepOutput:
        """Compute the loss of a batch of clips with labels."""
        logits = network(batch.frames).float()
        target = self.rows.to(logits.device)[batch.labels]
        weights = None if self.class_weights is None else self.class_weights.to(logits.device)
        if self.multi_label:
            # Smoothing spreads over the two outcomes of each label, as torch's does over the classes.
            target = target * (1 - self.smoothing) + self.smoothing / 2
            loss = F.binary_cross_entropy_with_logits(logits, target, pos_weight=weights)
            correct = ((logits > 0) == (target > 0.5)).float().mean()
        else:
            loss = F.cross_entropy(logits, batch.labels, weight=weights, label_smoothing=self.smoothing)
            correct = (logits.argmax(-1) == batch.labels).float().mean()
        return StepOutput(loss, {"accuracy": correct})

    def validate(self, epoch: int) -> Mapping[str, float]:
        """Classify the validation set."""
        if self.validator is None:
            return {}
        assert isinstance(self.network, EndoFMForVideoClassification)
        predictions = self.validator(self.network)
        self.unread["validation clips"] = self.validated - len(predictions), self.validated
        metrics = classification_metrics(predictions)
        # A metric that is undefined on this set cannot decide between epochs; the monitor needs a number.
        return {name: 0.0 if np.isnan(value) else value for name, value in metrics.items()}


def read_subsets(config: ClassificationConfig) -> Subsets[ClipTable]:
    """Read the lists and manifests of a configuration.

    Raises:
        InputError: If something cannot be read or is empty, or the sets overlap.
    """
    data = config.data
    # With several labels per video, "a+b" is a label of its own in a list, and each list may have other ones.
    classes = () if data.multi_label else data.classes
    if data.multi_label:
        listings = (data.train, data.validation, data.test)
        tables = [_read(data, sources) for sources in listings if sources]
        classes = tuple(sorted({name for table in tables for name in table.classes}))
    listed = _read(data, data.train, classes or None)
    rows = {part: np.flatnonzero(np.array([s == part for s in listed.split])) for part in ("train", "val", "test")}
    validation, test = (
        _read(data, sources, listed.classes) if sources else None for sources in (data.validation, data.test)
    )
    left_out = dict.fromkeys(note for table in (listed, validation, test) if table is not None for note in table.notes)
    train = listed
    if len(rows["train"]):
        others = len(listed) - sum(map(len, rows.values()))
        if others:
            left_out[f"{others} of {len(listed)} clips are in no set: their subset is none of train, val and test."] = (
                None
            )
        train = listed.take(rows["train"])
        validation = listed.take(rows["val"]) if validation is None and len(rows["val"]) else validation
        test = listed.take(rows["test"]) if test is None and len(rows["test"]) else test
    for name, table in (("training", train), ("validation", validation)):
        if table is not None and not len(table):
            raise InputError(f"the {name} set is empty")

    def held_out(table: ClipTable) -> tuple[ClipTable, ClipTable]:
        groups = [table.group(row) for row in range(len(table))]
        joined = join_groups(groups, identities(_files(table)))
        if len(set(joined)) == 1 < len(set(groups)):
            left_out[f"All {len(table)} training clips are copies of one: the validation set says nothing."] = None
            joined = groups
        kept, held = hold_out(
            range(len(table)),
            joined.__getitem__,
            data.validation_fraction,
            config.run.seed,
            labels_of=lambda row: [int(table.label[row])],
        )
        return table.take(kept), table.take(held)

    subsets = Subsets.of(
        train,
        None if data.select_on_test else validation,
        test,
        hold_out=held_out,
        groups_of=lambda table: {table.group(row) for row in range(len(table))},
        files_of=_files,
        select_on_test=data.select_on_test,
        allow_overlap=data.allow_overlap,
    )
    return replace(subsets, left_out=tuple(left_out))


def _files(table: ClipTable) -> list[Path]:
    return [Path(path) for path in table.path]


def _read(data: ClassifierData, sources: Sequence[str], classes: Sequence[str] | None = None) -> ClipTable:
    if data.camera is not None:
        listings = [read_stills(source) for source in sources]
        notes = [
            note
            for source, listing in zip(sources, listings, strict=True)
            for note in listing.left_out(source, allow=data.allow_missing)
        ]
        return still_table(listings, classes, notes=notes)
    return read_clips(*sources, classes=classes, root=data.root, missing=data.missing)


def build_classifier(config: ClassificationConfig, labels: tuple[str, ...]) -> EndoFMForVideoClassification:
    """Return the initial classifier of a run; new weights are drawn from torch's global generator.

    Args:
        config: All settings.
        labels: Names of the classes.

    Raises:
        WeightsError: If the encoder cannot be loaded.
    """
    start = config.model
    head = ClassificationHeadConfig(
        labels=labels, multi_label=config.data.multi_label, thresholds=start.thresholds, dropout=start.dropout
    )
    if start.timm is not None:
        model = classifier_on_timm(start.timm, head)
    elif start.source is not None:
        encoder = load_encoder(start.source)
        build = without_time if start.frames_only else EndoFMForVideoClassification.from_backbone
        model = build(encoder, head)
    else:
        architecture = start.architecture
        if start.frames_only:
            architecture = replace(architecture, attention_type="space_only")
        preprocess = default_preprocess(architecture)
        model = EndoFMForVideoClassification(
            ModelConfig(encoder=architecture, preprocess=preprocess, head=head, trained=False)
        )
    # A second model with the same weights: stochastic depth is part of the architecture, so it cannot be set later.
    described = model.config
    preprocess = published_preprocess(described.encoder) if config.published.preprocess else described.preprocess
    if start.window_seconds is not None:
        preprocess = replace(preprocess, window_seconds=start.window_seconds)
    dropped = replace(described.encoder, drop_path_rate=start.drop_path_rate)
    built = EndoFMForVideoClassification(
        replace(described, encoder=dropped, preprocess=preprocess), provenance=model.provenance
    )
    built.load_state_dict(model.state_dict())
    return built


def _targets(config: ClassificationConfig, table: ClipTable) -> Targets:
    """Return the meaning of the labels; all sets of a run have the same written labels."""
    return Targets.of(table.classes, multi_label=config.data.multi_label, classes=config.data.classes)


def _predict(
    model: EndoFMForVideoClassification, table: ClipTable, config: ClassificationConfig, targets: Targets
) -> Predictions:
    return run_classifier(
        model,
        table,
        targets,
        model.head_config,
        model.config.preprocess,
        published_frames=config.published.frames,
        views=config.evaluation.time_views,
        crops=config.evaluation.crops,
        batch_size=config.evaluation.batch_size,
        num_workers=min(config.run.num_workers, 2),
    )


RECIPE = ClassificationRecipe()
