"""A complete task outside of the package: image quality, one score per frame (see ``docs/extending.md``)."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from endofm.config import HeadConfig, ModelConfig
from endofm.data.clip_dataset import ClipDataset
from endofm.data.clip_table import ClipTable
from endofm.data.clip_views import TrainingPixels
from endofm.data.frame_samplers import RandomWindow
from endofm.errors import CheckpointFormatError
from endofm.evaluation.report import Report
from endofm.hub.task_layout import PublishedModel, ReadOptions, TaskLayout
from endofm.inference.video_stream import VideoStream
from endofm.models.build import build_encoder
from endofm.models.encoder import ClipEncoder
from endofm.models.pretrained import Pretrained
from endofm.task_table import Task
from endofm.tasks.features.model import EndoFM
from endofm.tasks.task_model import TaskModel
from endofm.training.engine.training_task import StepOutput
from endofm.training.finetune.classification_config import ClassificationConfig
from endofm.training.finetune.classification_recipe import read_subsets
from endofm.training.finetune.recipe import TaskRecipe
from endofm.training.finetune.subsets import Subsets
from endofm.training.finetune.supervised_task import FineTuningTask
from endofm.training.transfer.base import Transfer
from endofm.transforms.processor import Processor
from endofm.video.frames import VideoSource

TASK = Task(
    name="quality",
    model="helpers.toy_task:QualityModel",
    layout="helpers.toy_task:QualityLayout",
    head_config="helpers.toy_task:QualityHeadConfig",
    finetuning="helpers.toy_task:RECIPE",
    finetuning_config="helpers.toy_task:QualityConfig",
)


@dataclass(frozen=True, kw_only=True)
class QualityHeadConfig(HeadConfig):
    """Head of :class:`QualityModel`."""

    task: ClassVar[str] = "quality"


@dataclass(frozen=True)
class VideoQuality:
    """Scores of a video, one per frame, with times and provenance."""

    seconds: tuple[float, ...]
    scores: tuple[float, ...]
    provenance: Mapping[str, Any]


class QualityStream(VideoStream[tuple[float, float], VideoQuality]):
    """Time and score of every frame."""

    def __init__(self, model: nn.Module, source: VideoSource, processor: Processor, **options: Any) -> None:
        super().__init__(source, processor, **options)
        self._model = model

    def __iter__(self) -> Generator[tuple[float, float], None, None]:
        for frame in self.source:
            clip = self._processor.prepare_frame(frame.data, self.box)[None, :, None]  # 1 C 1 H W
            with torch.inference_mode():
                yield frame.pts_seconds, float(self._model(clip)[0, 0].sigmoid())

    def expected(self) -> int | None:
        return self.source.metadata.num_frames

    def _result(self, items: Iterator[tuple[float, float]]) -> VideoQuality:
        seconds, scores = zip(*items, strict=True)
        return VideoQuality(seconds, scores, self.provenance())


class QualityModel(TaskModel[QualityHeadConfig, VideoQuality]):
    """One score per frame."""

    task = "quality"
    output_noun = "scores"
    backbone: ClipEncoder

    def __init__(self, config: ModelConfig, *, provenance: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self._describe(config, provenance)
        self.backbone = build_encoder(config.encoder)
        self.head = nn.Linear(config.encoder.embed_dim, self.head_config.num_classes)

    def forward(self, clip: Tensor) -> Tensor:
        logits: Tensor = self.head(self.backbone(clip))
        return logits

    @contextmanager
    def stream(self, video: Any, **options: Any) -> Iterator[QualityStream]:
        with self._session(video, **options) as (model, source, processor):
            yield QualityStream(model, source, processor, weights=self.weights_provenance())


class QualityLayout(TaskLayout):
    """No checkpoint of this task was ever published."""

    name = "quality"
    pipeline_tag = "image-classification"
    title = "Endoscopy image quality"
    intended_use = "tests"

    def matches(self, content: Mapping[str, Any]) -> bool:
        return False

    def read(self, content: Mapping[str, Any], options: ReadOptions) -> PublishedModel:
        raise CheckpointFormatError(f"{options.source}: there is no published layout of this task")

    def usage(self, config: ModelConfig) -> str:
        return 'quality = model.predict("procedure.mp4")'

    def output(self, config: ModelConfig) -> str:
        return "one score per frame"


@dataclass(frozen=True, kw_only=True)
class QualityConfig(ClassificationConfig):
    """Settings of fine-tuning: labelled videos as in classification."""

    task: ClassVar[str] = "quality"


class QualityTraining(FineTuningTask):
    """Binary cross-entropy of the second label."""

    def loss(self, network: Callable[..., Any], batch: Any) -> StepOutput:
        logits = network(batch.frames)[:, 0]
        return StepOutput(F.binary_cross_entropy_with_logits(logits, batch.labels.to(logits)), {})

    def validate(self, epoch: int) -> Mapping[str, float]:
        return {"balanced_accuracy": float(epoch)}


class QualityRecipe(TaskRecipe[QualityConfig, ClipTable]):
    """Fine-tuning on labelled videos."""

    def read_subsets(self, config: QualityConfig, *, progress: bool) -> Subsets[ClipTable]:
        return read_subsets(config)

    def build_model(self, config: QualityConfig, train: ClipTable) -> Pretrained:
        assert config.model.encoder is not None
        encoder = EndoFM(ModelConfig(encoder=config.model.encoder, trained=False))
        return QualityModel.from_backbone(encoder, QualityHeadConfig(labels=("quality",)))

    def training_data(self, config: QualityConfig, train: ClipTable, model: Pretrained) -> ClipDataset:
        preprocess = model.config.preprocess
        sampler = RandomWindow(2, 0.8)
        return ClipDataset(train, sampler=sampler, transform=TrainingPixels(preprocess), seed=config.run.seed)

    def training_task(
        self, config: QualityConfig, model: Pretrained, transfer: Transfer, subsets: Subsets[ClipTable]
    ) -> FineTuningTask:
        return QualityTraining(model, transfer, config)

    def reports(
        self,
        config: QualityConfig,
        model: Pretrained,
        data: ClipTable,
        *,
        settings: Mapping[str, Any],
        notes: Sequence[str],
        progress: bool,
    ) -> Mapping[str, Report]:
        return {}


RECIPE = QualityRecipe()
