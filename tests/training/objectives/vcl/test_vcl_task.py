"""VCL in the training loop: frozen parts, checkpoints and export."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from endofm.config import EncoderConfig, ModelConfig, PreprocessConfig
from endofm.errors import ConfigError
from endofm.models.encoder import VideoTransformer
from endofm.training.engine.fit import fit
from endofm.training.engine.random_state import seed_all
from endofm.training.engine.training_task import LoaderSpec, Plan
from endofm.training.objectives.pretraining_task import Start
from endofm.training.objectives.vcl.vcl_config import VCLConfig
from endofm.training.objectives.vcl.vcl_task import VCLTask, build
from endofm.training.objectives.vcl.vcl_views import VCLCrops
from endofm.training.run_config import RunConfig

ENCODER = EncoderConfig(img_size=32, num_frames=4, embed_dim=24, depth=2, num_heads=2)
MODEL = ModelConfig(encoder=ENCODER, preprocess=PreprocessConfig.for_image_size(32, num_frames=4))
CONFIG = VCLConfig(
    concepts=12,
    hidden_dim=16,
    contrast_dim=8,
    clip_frames=4,
    crop_size=32,
    queue_size=20,
    top_concepts=6,
    learning_rate=0.2,
    warmup_epochs=0,
    local_start_epoch=2,
)
VIDEOS = 8


class ToyVideos:
    """Eight videos of coloured noise, in batches that are the same in any order of reading."""

    def __init__(self, share: LoaderSpec) -> None:
        parts = build(CONFIG, Start(model=MODEL))
        self.transform, self.batch_size, self.epoch, self.start = parts.transform, share.batch_size, 0, 0

    def __len__(self) -> int:
        return VIDEOS // self.batch_size

    def set_epoch(self, epoch: int, start: int = 0) -> None:
        self.epoch, self.start = epoch, start

    def __iter__(self) -> Iterator[Any]:
        for number in range(self.start, len(self)):
            numbers = range(number * self.batch_size, (number + 1) * self.batch_size)
            yield _Batch(VCLCrops.collate([self.video(i) for i in numbers]))

    def video(self, number: int) -> VCLCrops:
        scene = np.random.default_rng(number).integers(0, 200, (1, 40, 40, 3))
        noise = np.random.default_rng([number, self.epoch])
        frames = np.clip(scene + noise.integers(0, 56, (8, 40, 40, 3)), 0, 255).astype(np.uint8)
        made: VCLCrops = self.transform(frames, noise)
        return made


class _Batch(SimpleNamespace):
    def __init__(self, frames: VCLCrops) -> None:
        super().__init__(frames=frames)

    def __len__(self) -> int:
        return len(self.frames)


class Observed(VCLTask):
    """Keeps what is to be looked at after every step."""

    def __init__(self, config: VCLConfig, encoder: VideoTransformer) -> None:
        super().__init__(config, encoder)
        self.rows: list[torch.Tensor] = []
        self.losses: list[dict[str, float]] = []
        self.idle: list[set[str]] = []

    def training_step(self, network: Any, batch: Any, step: int) -> Any:
        out = super().training_step(network, batch, step)
        self.losses.append({"total": out.loss.item(), **{k: float(v) for k, v in out.metrics.items()}})
        return out

    def after_backward(self, step: int) -> Any:
        found = super().after_backward(step)
        self.idle.append({n.split(".")[0] for n, p in self.network.named_parameters() if p.grad is None})
        return found

    def after_step(self, step: int) -> None:
        super().after_step(step)
        self.rows.append(torch.cat([c.weight.detach().clone() for c in self.network.concepts.values()]))


def run(folder: Path, **settings: Any) -> Observed:
    seed_all(0)
    task = Observed(CONFIG, VideoTransformer(ENCODER))
    config = RunConfig(
        **{"epochs": 16, "batch_size": 8, "accelerator": "cpu", "num_workers": 0, "loggers": (), **settings}
    )
    fit(task, ToyVideos, config, folder, progress=False)
    return task


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Observed:
    return run(tmp_path_factory.mktemp("run") / "a")


def test_concepts_stay_in_epoch_0_then_move_at_unit_length(task: Observed) -> None:
    assert len(task.rows) == 16
    for rows in task.rows:
        torch.testing.assert_close(rows.norm(dim=1), torch.ones(len(rows)))
    seed_all(0)
    fresh = VCLTask(CONFIG, VideoTransformer(ENCODER))
    start = torch.cat([concepts.weight.detach() for concepts in fresh.network.concepts.values()])
    torch.testing.assert_close(task.rows[0], start)
    assert (F.cosine_similarity(task.rows[1], start) < 1 - 1e-6).all()


def test_parts_take_part_from_their_epoch_on(task: Observed) -> None:
    assert task.idle[:3] == [{"concepts", "attention"}, {"attention"}, set()]
    assert task.losses[1]["local_v"] == 0
    assert task.losses[2]["local_v"] > 0
    assert task.losses[-1]["feature_std"] > 1e-3


def test_loss_falls(task: Observed) -> None:
    # From epoch 2 on the loss has all its terms.
    assert task.losses[-1]["total"] < task.losses[2]["total"] - 1


def test_only_the_encoder_is_exported(task: Observed, tmp_path: Path) -> None:
    found: dict[str, Any] = {}
    task.exporter = lambda folder, encoder, summary: found.update(encoder)
    task.export(tmp_path, {"network": task.network.state_dict()}, None)  # type: ignore[arg-type]
    task.exporter = None
    other = VideoTransformer(ENCODER)
    other.load_state_dict(found, strict=True)
    clip = torch.randn(2, 3, 4, 32, 32)
    torch.testing.assert_close(other.eval()(clip), task.encoder.eval()(clip))


def test_a_resumed_run_has_the_queue_and_ends_with_the_same_weights(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole", epochs=4, batch_size=4)
    folder = tmp_path / "parts"

    class Interrupted(Exception):
        pass

    def break_off(self: Observed, step: int) -> None:
        VCLTask.after_step(self, step)
        if step == 4:
            raise Interrupted

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Observed, "after_step", break_off)
        with pytest.raises(Interrupted):
            run(folder, epochs=4, batch_size=4)
    resumed = run(folder, epochs=4, batch_size=4)
    assert len(resumed.rows) == 4  # the last of three epochs that were begun anew had been saved
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, resumed.network.state_dict()[name]), name


def test_plans_that_cannot_work_are_refused() -> None:
    task = VCLTask(CONFIG, VideoTransformer(ENCODER))
    with pytest.raises(ConfigError, match="at least 2"):
        task.prepare(Plan(steps_per_epoch=8, total_steps=80, batch_size=1))
    long = VCLTask(VCLConfig(**{**vars(CONFIG), "warmup_epochs": 11}), VideoTransformer(ENCODER))
    with pytest.raises(ConfigError, match="warmup_epochs 11"):
        long.prepare(Plan(steps_per_epoch=8, total_steps=80, batch_size=8))


def test_only_the_encoder_of_a_start_is_used() -> None:
    encoder = VideoTransformer(ENCODER)
    start = Start(model=MODEL, encoder=encoder.state_dict(), checkpoint={"student": {}, "teacher": {}})
    built = build(CONFIG, start).task.encoder
    assert isinstance(built, VideoTransformer)
    assert built.encoder_config.drop_path_rate == CONFIG.drop_path_rate
    torch.testing.assert_close(built.pos_embed, encoder.pos_embed)
