"""A tiny pre-training run on drifting waves, for tests.

As a script, ``endofm_run.py FOLDER STRATEGY ...`` trains once with each strategy, in ``FOLDER/STRATEGY``;
``sinkhorn`` is ddp with the prototypes balanced.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from endofm.config import EncoderConfig, ModelConfig, PreprocessConfig
from endofm.data.clip_batch import ClipBatch, collate_clips
from endofm.data.clip_dataset import ClipSample, clip_generator
from endofm.training.engine.fit import RunResult, fit
from endofm.training.engine.random_state import seed_all
from endofm.training.engine.training_task import LoaderSpec
from endofm.training.objectives.endofm.endofm_config import (
    EndoFMFixedConfig,
    EndoFMPublishedConfig,
    ProjectionHeadConfig,
)
from endofm.training.objectives.endofm.endofm_task import EndoFMTask, build
from endofm.training.objectives.pretraining_task import ObjectiveParts, Start
from endofm.training.run_config import RunConfig
from endofm.training.views.view_config import ViewConfig
from helpers.golden_fill import uint8_clip

MODEL = ModelConfig(
    encoder=EncoderConfig(img_size=32, num_frames=4, embed_dim=32, depth=2, num_heads=2),
    preprocess=PreprocessConfig.for_image_size(32),
)
VIEWS = ViewConfig(global_frames=(2, 4), local_frames=(2, 2, 4), global_size=32, local_size=16)
HEAD = ProjectionHeadConfig(out_dim=32, hidden_dim=24, bottleneck_dim=16)


@dataclass(frozen=True, kw_only=True)
class TinyConfig:
    run: RunConfig = field(
        default_factory=lambda: RunConfig(
            epochs=2, batch_size=4, num_workers=0, accelerator="cpu", log_every=1, loggers=("csv",)
        )
    )
    objective: EndoFMPublishedConfig | EndoFMFixedConfig = field(
        default_factory=lambda: EndoFMFixedConfig(
            views=VIEWS, head=HEAD, warmup_epochs=1, learning_rate=0.05, drop_path_rate=0.0, teacher_momentum=0.9
        )
    )


class Waves:
    """Twelve clips of drifting waves."""

    def __init__(self, parts: ObjectiveParts, share: LoaderSpec) -> None:
        self.parts, self.share = parts, share
        self.epoch, self.start = 0, 0

    def __len__(self) -> int:
        return 12 // self.share.world_size // self.share.batch_size

    def set_epoch(self, epoch: int, start: int = 0) -> None:
        self.epoch, self.start = epoch, start

    def __iter__(self) -> Iterator[ClipBatch]:
        mine = range(12)[self.share.rank :: self.share.world_size]
        for number in range(self.start, len(self)):
            yield collate_clips([self.clip(i) for i in mine[number * self.share.batch_size :][: self.share.batch_size]])

    def clip(self, index: int) -> ClipSample:
        frames = uint8_clip(f"wave{index}", (10, 40, 48, 3))
        made = self.parts.transform(frames, clip_generator(0, self.epoch, str(index)))
        return ClipSample(made, torch.zeros(10), -1, index, str(index), "")


def train(folder: Path, config: TinyConfig | None = None, **run: Any) -> tuple[EndoFMTask, RunResult]:
    config = config or TinyConfig()
    config = replace(config, run=replace(config.run, **run))
    seed_all(config.run.seed)
    parts = build(config.objective, Start(model=MODEL))
    assert isinstance(parts.task, EndoFMTask)
    result = fit(parts.task, lambda share: Waves(parts, share), config.run, folder, config=config, progress=False)
    return parts.task, result


def balanced() -> TinyConfig:
    return TinyConfig(objective=replace(TinyConfig().objective, centering="sinkhorn"))


if __name__ == "__main__":
    for strategy in sys.argv[2:]:
        if strategy == "sinkhorn":
            train(Path(sys.argv[1]) / strategy, balanced())
        else:
            train(Path(sys.argv[1]) / strategy, strategy=strategy)
