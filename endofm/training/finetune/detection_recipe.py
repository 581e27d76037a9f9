"""Fine-tuning recipe of detection: videos with boxes, the losses of the detector, average precision."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch.distributed as dist

from endofm.config import BaseEncoderConfig, ModelConfig, PreprocessConfig
from endofm.data.detection.detection_set import DetectionSet, LabelledVideo
from endofm.data.detection.open_set import open_detection_set
from endofm.data.detection.samples import DetectionBatch, DetectionSamples
from endofm.data.hold_out import hold_out
from endofm.data.loader import ClipSource
from endofm.data.stills.labelled_stills import boxed_stills
from endofm.evaluation.bootstrap import BootstrapSettings
from endofm.evaluation.detection_metrics import DetectionMetrics
from endofm.evaluation.detection_records import DetectionResults, check_labels
from endofm.evaluation.detection_report import DetectionReport
from endofm.evaluation.report import REPORT_FOLDER, Report
from endofm.evaluation.run_detector import run_detector
from endofm.hub.encoder_tensors import default_preprocess
from endofm.models.pretrained import Pretrained
from endofm.tasks.detection.config import DetectionHeadConfig
from endofm.tasks.detection.detection_losses import detection_losses
from endofm.tasks.detection.fcos import init_distance_bias
from endofm.tasks.detection.layout import published_head, published_preprocess
from endofm.tasks.detection.model import EndoFMForDetection, fitted_frame
from endofm.tasks.detection.supports import SupportPlan
from endofm.tasks.features.model import load_encoder
from endofm.training.engine.distributed import all_reduce_mean, rank, world_size
from endofm.training.engine.training_task import StepOutput
from endofm.training.finetune.detection_config import DetectionConfig
from endofm.training.finetune.recipe import TaskRecipe
from endofm.training.finetune.subsets import Subsets
from endofm.training.finetune.supervised_task import FineTuningTask
from endofm.training.transfer.base import Transfer

UNREFINED_FOLDER = "report_without_refinement"

STRIDES_PER_LIMIT = 8.0
"""Longest distance to a side of a box that a pyramid level regresses, in its strides: 64 pixels at stride 8 (FCOS)."""


class DetectionRecipe(TaskRecipe[DetectionConfig, DetectionSet]):
    """Fine-tuning of a detector on videos with boxes."""

    unit: ClassVar[str] = "videos"

    def read_subsets(self, config: DetectionConfig, *, progress: bool) -> Subsets[DetectionSet]:
        """Read the subsets of a folder, or COCO files."""
        return read_subsets(config, progress=progress)

    def build_model(self, config: DetectionConfig, train: DetectionSet) -> Pretrained:
        """Return the initial detector."""
        model = build_detector(config, train.labels)
        check_labels(train, model.labels)
        return model

    def freeze(self, config: DetectionConfig, model: Pretrained) -> None:
        """Freeze the offsets of the alignment if they are, as published, never trained."""
        assert isinstance(model, EndoFMForDetection)
        if config.published.fixed_offsets:
            model.freeze_offsets()

    def training_data(self, config: DetectionConfig, train: DetectionSet, model: Pretrained) -> ClipSource:
        """Return target frames with their supports."""
        assert isinstance(model, EndoFMForDetection)
        data = config.data
        return DetectionSamples(
            train,
            model.config.preprocess,
            supports=data.supports,
            reach=data.reach,
            order="target-first" if config.published.target_first else "time",
            flip=data.flip,
            negatives=not config.published.positives_only,
            every=data.every,
            last_pixel_inside=model.head_config.last_pixel_inside,
            seed=config.run.seed,
            camera=data.camera,
        )

    def training_task(
        self, config: DetectionConfig, model: Pretrained, transfer: Transfer, subsets: Subsets[DetectionSet]
    ) -> DetectionTraining:
        """Return training by the detector's losses with validation by all metrics."""
        assert isinstance(model, EndoFMForDetection)
        return DetectionTraining(
            model, transfer, config, validator=lambda detector: _detect(detector, subsets.validation, config)
        )

    def reports(
        self,
        config: DetectionConfig,
        model: Pretrained,
        data: DetectionSet,
        *,
        settings: Mapping[str, Any],
        notes: Sequence[str],
        progress: bool,
    ) -> Mapping[str, Report]:
        """Run the detector on the set, with its supports and, if requested, without any."""
        assert isinstance(model, EndoFMForDetection)
        plans = {REPORT_FOLDER: model.support_plan()}
        if config.evaluation.without_refinement:
            plans[UNREFINED_FOLDER] = SupportPlan(count=0)
        reports = {}
        for folder, plan in plans.items():
            supports = {"pattern": plan.pattern, "count": plan.count, "reach": plan.reach, "online": plan.online}
            reports[folder] = DetectionReport.of(
                _detect(model, data, config, supports=plan, distributed=False, progress=progress),
                threshold=config.evaluation.threshold,
                settings={**settings, "supports": supports},
                notes=notes,
                bootstrap=BootstrapSettings(resamples=config.evaluation.resamples),
            )
        return reports


class DetectionTraining(FineTuningTask):
    """The five losses of the detector.

    Args:
        model: The detector, prepared for its transfer method.
        transfer: The method.
        config: All settings.
        validator: Runs the detector on the validation set.
    """

    def __init__(
        self,
        model: EndoFMForDetection,
        transfer: Transfer,
        config: DetectionConfig,
        *,
        validator: Callable[[EndoFMForDetection], DetectionResults] | None = None,
    ) -> None:
        super().__init__(model, transfer, config)
        self.detector, self.validator = model, validator
        self.together, self.threshold = config.data.together, config.evaluation.threshold
        self.limits = tuple(STRIDES_PER_LIMIT * stride for stride in model.head.strides[:-1])

    def loss(self, network: Callable[..., Any], batch: Any) -> StepOutput:
        """Compute the losses of a batch of target frames with their supports."""
        samples: DetectionBatch = batch.frames
        levels, refined = network(samples.clips, samples.targets, together=self.together)
        # Normalised by the positives of all processes, so that the loss does not depend on how frames are dealt.
        losses = detection_losses(
            levels, refined, samples.boxes, samples.labels, size_limits=self.limits, average=all_reduce_mean
        )
        return StepOutput(losses.total(), {f"loss_{name}": value.detach() for name, value in losses._asdict().items()})

    def validate(self, epoch: int) -> Mapping[str, float]:
        """Run the detector on the validation set."""
        if self.validator is None:
            return {}
        metrics = DetectionMetrics(self.validator(self.detector), threshold=self.threshold)
        # A metric that is undefined on this set cannot decide between epochs; the monitor needs a number.
        return {name: 0.0 if np.isnan(value) else value for name, value in metrics.over().items()}


def read_subsets(config: DetectionConfig, *, progress: bool = True) -> Subsets[DetectionSet]:
    """Read the sets of a configuration.

    Raises:
        InputError: If something is wrong with a set, or the sets overlap.
    """
    data = config.data

    def read(name: str, labels: tuple[str, ...]) -> DetectionSet:
        if data.camera is not None:
            return boxed_stills(str(data.root), name, labels, clip=data.clip_boxes, allow_missing=data.allow_missing)
        root = Path(data.root) if data.root is not None and not name.endswith(".json") else Path(name)
        split = "" if root == Path(name) else name
        return open_detection_set(
            root,
            split,
            labels=labels or None,
            fps=data.fps,
            clip=data.clip_boxes,
            allow_missing=data.allow_missing,
            progress=progress,
        )

    def held_out(source: DetectionSet) -> tuple[DetectionSet, DetectionSet]:
        kept, held = hold_out(
            source.videos,
            lambda video: video.patient,
            data.validation_fraction,
            config.run.seed,
            labels_of=_labels_of,
        )
        return replace(source, videos=tuple(kept)), replace(source, videos=tuple(held))

    train = read(data.train, data.labels)
    subsets = Subsets.of(
        train,
        read(data.validation, train.labels) if data.validation else None,
        read(data.test, train.labels) if data.test else None,
        hold_out=held_out,
        groups_of=_patients,
        files_of=lambda source: [frame.path for video in source.videos for frame in video.frames],
        select_on_test=data.select_on_test,
        allow_overlap=data.allow_overlap,
        unit="patients",
    )
    reported, _, _ = subsets.reported()
    # Boxes that were cut or dropped in the set that is reported on; the first ones show what is wrong with it.
    left_out = tuple(f"Training set: {note}" for note in train.notes[:20])
    return replace(subsets, notes=(*subsets.notes, *reported.notes[:20]), left_out=left_out)


def build_detector(config: DetectionConfig, labels: tuple[str, ...]) -> EndoFMForDetection:
    """Return the initial detector of a run; new weights are drawn from torch's global generator.

    Args:
        config: All settings.
        labels: Names of the classes.

    Raises:
        WeightsError: If the weights cannot be loaded.
    """
    start = config.model
    if start.detector is not None:
        model = EndoFMForDetection.from_pretrained(start.detector)
        architecture = replace(model.config.encoder, drop_path_rate=start.drop_path_rate)
        built = EndoFMForDetection(replace(model.config, encoder=architecture), provenance=model.provenance)
        built.load_state_dict(model.state_dict())
        return built
    new = _new_detector(config, labels)
    if config.published.zero_distances:
        init_distance_bias(new.head.first.bbox_pred, 0.0)
    return new


def _new_detector(config: DetectionConfig, labels: tuple[str, ...]) -> EndoFMForDetection:
    """Return an encoder, trained or not, under a head with new weights."""
    start, head = config.model, _head(config, labels)
    if start.source is not None:
        source = load_encoder(start.source)
        preprocess = _preprocess(config, source.config.encoder, source.config.preprocess)
        return EndoFMForDetection.from_backbone(
            source, head, preprocess=preprocess, drop_path_rate=start.drop_path_rate
        )
    architecture = replace(start.architecture, drop_path_rate=start.drop_path_rate)
    preprocess = _preprocess(config, architecture, default_preprocess(architecture))
    return EndoFMForDetection(ModelConfig(encoder=architecture, preprocess=preprocess, head=head, trained=False))


def _head(config: DetectionConfig, labels: tuple[str, ...]) -> DetectionHeadConfig:
    start, data = config.model, config.data
    if config.published.preprocess:
        return published_head(labels, channels=start.channels)
    return DetectionHeadConfig(
        labels=labels,
        channels=start.channels,
        tower_depth=start.tower_depth,
        # At least 8 channels per group, so that narrow heads still have statistics to normalise by.
        norm_groups=min(32, max(start.channels // 8, 1)),
        num_supports=start.num_supports,
        support_reach=start.support_reach,
        clip_frames=data.supports + 1 if data.together else 1,
    )


def _preprocess(config: DetectionConfig, encoder: BaseEncoderConfig, known: PreprocessConfig) -> PreprocessConfig:
    """Return the preprocessing of the detector, given that of its encoder."""
    if config.published.preprocess:
        return published_preprocess()
    return fitted_frame(encoder, known, size=config.model.size)


def _labels_of(video: LabelledVideo) -> set[int]:
    return {label for frame in video.frames for label in frame.labels.tolist()}


def _patients(source: DetectionSet) -> set[str]:
    """Return the patients of a set where they are known.

    Videos of different subsets may have the same name, so that a name says nothing about an overlap.
    """
    return {f"patient {video.patient}" for video in source.videos if video.patient != video.name}


def _detect(
    model: EndoFMForDetection,
    source: DetectionSet,
    config: DetectionConfig,
    *,
    supports: SupportPlan | None = None,
    distributed: bool = True,
    progress: bool = False,
) -> DetectionResults:
    """Run a detector on a set; the videos are dealt to the processes, each of which gets all results."""
    processes = world_size() if distributed else 1
    videos = list(range(len(source)))[rank() if distributed else 0 :: processes]
    results = run_detector(
        model,
        source,
        videos=videos,
        every=config.evaluation.every,
        supports=supports,
        batch_size=config.evaluation.batch_size,
        progress=progress,
    )
    if processes == 1:
        return results
    gathered: list[Any] = [None] * processes
    dist.all_gather_object(gathered, (videos, results.videos))
    # Back into the order of the set, so that reports do not depend on the number of processes.
    by_index = {index: video for part, results_of in gathered for index, video in zip(part, results_of, strict=True)}
    return DetectionResults(source.labels, tuple(by_index[index] for index in sorted(by_index)))


RECIPE = DetectionRecipe()
