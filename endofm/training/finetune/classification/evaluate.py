"""Classifying labelled videos by several views, and what comes of it."""

from __future__ import annotations

import gc
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from endofm.config import PreprocessConfig
from endofm.data.clip_dataset import ClipDataset
from endofm.data.clip_table import ClipTable
from endofm.data.frame_samplers import FrameSampler
from endofm.data.loader import ClipLoader
from endofm.errors import VideoError
from endofm.evaluation.predictions import Predictions
from endofm.tasks.classification.config import ClassificationHeadConfig
from endofm.training.finetune.classification.targets import Targets
from endofm.training.finetune.clip_views import EvaluationPixels, UpstreamView, WindowView


def evaluation_samplers(preprocess: PreprocessConfig, *, rule: str, views: int) -> list[FrameSampler]:
    """Return the choice of frames of every view.

    Args:
        preprocess: Frames per clip and length of a window.
        rule: ``"random"`` for evenly placed windows, ``"upstream"`` for the original's rule.
        views: Number of views.
    """
    frames = preprocess.num_frames
    if rule == "upstream":
        return [UpstreamView(frames, view, views) for view in range(views)]
    return [WindowView(frames, preprocess.window_seconds, view, views) for view in range(views)]


def classify(
    model: nn.Module,
    table: ClipTable,
    targets: Targets,
    head: ClassificationHeadConfig,
    preprocess: PreprocessConfig,
    *,
    rule: str = "random",
    views: int = 1,
    crops: int = 1,
    batch_size: int = 8,
    num_workers: int = 0,
    seed: int = 0,
) -> Predictions:
    """Classify the clips of a table: probabilities are averaged over views and crops.

    Args:
        model: Maps clips to logits; used in the mode that it is in, on its device.
        table: Labelled clips.
        targets: Meaning of the labels.
        head: Labels and thresholds.
        preprocess: Frames to clip.
        rule: See :func:`evaluation_samplers`.
        views: Windows per clip.
        crops: Crops per window, 1 or 3.
        batch_size: Clips at a time.
        num_workers: Processes that read.
        seed: Seed of the data set, of which nothing depends.

    Raises:
        VideoError: If none of the clips can be decoded.
    """
    device = next(model.parameters()).device
    sums = np.zeros((len(table), head.num_classes))
    counts = np.zeros(len(table), np.int64)
    for sampler in evaluation_samplers(preprocess, rule=rule, views=views):
        data = ClipDataset(table, sampler=sampler, transform=EvaluationPixels(preprocess, crops), seed=seed)
        loader = ClipLoader(data, batch_size, shuffle=False, num_workers=num_workers)
        for batch in loader:
            with torch.inference_mode():
                clips: Tensor = batch.frames.to(device).flatten(0, 1)  # (B crops) C T H W
                logits = model(clips).float()
                shares = logits.sigmoid() if head.multi_label else logits.softmax(-1)
            means = shares.unflatten(0, (len(batch), -1)).mean(1).double().cpu().numpy()
            places = batch.indices.numpy()
            sums[places] += means
            counts[places] += 1
        del loader
        # A loader is part of a cycle. Workers that are forked later would find it as garbage of theirs and complain.
        gc.collect()
    seen = np.flatnonzero(counts)
    if not len(seen):
        raise VideoError(f"none of the {len(table)} clips can be decoded")
    chosen = table.take(seen)
    return Predictions(
        probabilities=np.clip(sums[seen] / counts[seen, None], 0, 1),
        targets=targets.of_clips(chosen),
        groups=[chosen.group(place) for place in range(len(chosen))],
        head=head,
        ids=_ids(chosen),
    )


def _ids(table: ClipTable) -> Sequence[str]:
    return [table.id[place] for place in range(len(table))]
