"""Distillation as a task of the training loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from endofm.data.clip_table import ClipTable
from endofm.errors import ConfigError
from endofm.models.encoder import VideoTransformer
from endofm.training.engine.training_task import LoaderSpec, RunSummary, StepOutput, Weights
from endofm.training.objectives.distill.distill_config import DistillConfig
from endofm.training.objectives.distill.picture_views import PictureViews, ViewCutter
from endofm.training.objectives.distill.pictures import read_pictures
from endofm.training.objectives.distill.target_maps import target_maps
from endofm.training.objectives.distill.teachers import load_teachers
from endofm.training.objectives.gradients import clip_each
from endofm.training.objectives.pretraining_task import PretrainingTask, Start
from endofm.training.views.view_config import ViewConfig


class Student(nn.Module):
    """The encoder, whose tokens are the predictions.

    Where the targets are as wide as the encoder there is nothing in between, so that distances between embeddings are
    those between the teachers' features; narrower targets are predicted by a linear layer.

    Args:
        backbone: The encoder.
        components: Width of the targets.
    """

    def __init__(self, backbone: VideoTransformer, components: int) -> None:
        super().__init__()
        self.backbone = backbone
        same = components == backbone.embed_dim
        self.head: nn.Module = nn.Identity() if same else nn.Linear(backbone.embed_dim, components)

    def forward(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        """Return predictions ``(clips, components)`` and, of patches, ``(clips, frames, grid, grid, components)``."""
        output = self.backbone.forward_features(clips)
        return self.head(output.cls_token), self.head(output.patch_tokens)


class DistillTask(PretrainingTask):
    """Trains an encoder to predict the features of frozen image encoders.

    Args:
        config: The objective.
        encoder: The encoder to train.
        cutter: Cuts views and targets.
        components: Width of the targets.
    """

    config: DistillConfig
    network: Student
    export_from = ("network", "backbone.")

    def __init__(self, config: DistillConfig, encoder: VideoTransformer, cutter: ViewCutter, components: int) -> None:
        self.config = config
        self.network = Student(encoder, components)
        self.cutter = cutter
        self.helpers = {"cutter": cutter}

    @property
    def encoder(self) -> nn.Module:
        """The encoder that is trained."""
        return self.network.backbone

    def training_step(self, network: Callable[..., Any], batch: Any, step: int) -> StepOutput:
        """Compute the loss of drawn views."""
        with torch.autocast(self.cutter.pixels.device.type, enabled=False):
            clips, targets = self.cutter(batch)
        clip, patches = network(clips)
        # The reduction is linear, so the mean over a view's patches is the reduced mean of the teachers' map.
        loss_clip = _distance(clip, targets.flatten(1, 3).mean(dim=1))
        loss_patches = _distance(patches, targets)
        spread = F.normalize(clip.detach().float(), dim=1).std(dim=0).square().sum().sqrt()
        return StepOutput(
            loss_clip + loss_patches,
            {"loss_clip": loss_clip.detach(), "loss_patches": loss_patches.detach(), "feature_std": spread},
        )

    def after_backward(self, step: int) -> Mapping[str, Tensor | float]:
        """Clip every gradient by its own norm."""
        norms = clip_each(self.network.parameters(), self.config.clip_gradient)
        return {"largest_gradient": norms.max(), "clipped": (norms > self.config.clip_gradient).float().mean()}

    def export(self, folder: Path, weights: Weights, summary: RunSummary) -> None:
        """Write the encoder; the card names the teachers, whose training data its features depend on as well."""
        names = ", ".join(f"`{teacher.model}`" for teacher in self.config.teachers)
        notes = (*summary.notes, f"taught by frozen image encoders: {names}")
        super().export(folder, weights, replace(summary, notes=notes))


@dataclass(frozen=True)
class DistillParts:
    """A distillation, ready to run.

    Attributes:
        task: The task.
        data: Makes the data of one process.
        skipped: Clips that could not be read, with the reason.
    """

    task: DistillTask
    data: Callable[[LoaderSpec], PictureViews]
    skipped: Mapping[str, str]


def build(
    config: DistillConfig,
    start: Start,
    clips: ClipTable,
    *,
    seed: int,
    device: torch.device | str = "cpu",
    report: Callable[[str], None] = lambda line: None,
) -> DistillParts:
    """Return task and data; the teachers see every picture once, unless their maps are in the cache.

    Args:
        config: The objective.
        start: Initial state of the run.
        clips: Stills, videos or folders of frames.
        seed: Seed of the views.
        device: Where the teachers compute.
        report: Called with a line of text now and then.

    Raises:
        ConfigError: If the teachers cannot be loaded, or do not fit the pictures.
        InputError: If no clip can be read.
    """
    if start.checkpoint is not None:
        raise ConfigError("a distillation has no projection head and no centre; set init.training_state=false")
    encoder = start.make_encoder(drop_path_rate=config.drop_path_rate)
    architecture, preprocess = encoder.encoder_config, start.model.preprocess
    teachers = load_teachers(config.teachers, device)
    bank, skipped = read_pictures(clips, per_clip=config.pictures_per_clip, size=config.picture_size)
    maps = target_maps(
        bank,
        teachers,
        sizes=config.teacher_sizes,
        components=encoder.embed_dim,
        whitening=config.whitening,
        cache=Path(config.cache),
        report=report,
    )
    views = config.views
    # The windows flip, so the appearance does not.
    colours = ViewConfig(
        flip_probability=0.0,
        grey_probability=0.0,
        brightness=views.brightness,
        contrast=views.contrast,
        saturation=views.saturation,
        mean=preprocess.mean,
        std=preprocess.std,
    )
    cutter = ViewCutter(
        bank, maps, size=architecture.img_size, grid=architecture.img_size // architecture.patch_size, colours=colours
    )
    return DistillParts(
        task=DistillTask(config, encoder, cutter, maps.levels[0].shape[1]),
        data=lambda spec: PictureViews(bank.sizes, views, colours, spec, seed=seed),
        skipped=skipped,
    )


def _distance(predicted: Tensor, target: Tensor) -> Tensor:
    return 1 - F.cosine_similarity(predicted.float(), target, dim=-1).mean()
