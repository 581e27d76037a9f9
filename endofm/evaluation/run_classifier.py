"""Run of a classifier over labelled videos, with several views per video."""

from __future__ import annotations

import gc

import numpy as np
import torch
from torch import Tensor, nn

from endofm.config import PreprocessConfig
from endofm.data.class_targets import Targets
from endofm.data.clip_dataset import ClipDataset
from endofm.data.clip_table import ClipTable
from endofm.data.clip_views import EvaluationPixels, PublishedFrames, WindowView
from endofm.data.frame_samplers import FrameSampler
from endofm.data.loader import ClipLoader
from endofm.errors import VideoError
from endofm.evaluation.predictions import Predictions
from endofm.tasks.classification.config import ClassificationHeadConfig


def run_classifier(
    model: nn.Module,
    table: ClipTable,
    targets: Targets,
    head: ClassificationHeadConfig,
    preprocess: PreprocessConfig,
    *,
    published_frames: bool = False,
    views: int = 1,
    crops: int = 1,
    batch_size: int = 8,
    num_workers: int = 0,
) -> Predictions:
    """Classify the clips of a table; probabilities are averaged over views and crops.

    Args:
        model: Maps clips to logits. It is used on its device and in its current mode.
        table: Labelled clips.
        targets: Meaning of the labels.
        head: Labels and thresholds.
        preprocess: Frames to clip.
        published_frames: Choose frames by the published rule rather than from evenly spaced windows.
        views: Windows per clip.
        crops: Crops per window, 1 or 3.
        batch_size: Clips at a time.
        num_workers: Processes that read.

    Raises:
        VideoError: If none of the clips can be decoded.
    """
    device = next(model.parameters()).device
    sums = np.zeros((len(table), head.num_classes))
    counts = np.zeros(len(table), np.int64)
    for sampler in _samplers(preprocess, published=published_frames, views=views):
        data = ClipDataset(table, sampler=sampler, transform=EvaluationPixels(preprocess, crops))
        loader = ClipLoader(data, batch_size, shuffle=False, num_workers=num_workers)
        for batch in loader:
            with torch.inference_mode():
                clips: Tensor = batch.frames.to(device).flatten(0, 1)  # (batch * crops, 3, time, height, width)
                logits = model(clips).float()
                probabilities = logits.sigmoid() if head.multi_label else logits.softmax(-1)
            means = probabilities.unflatten(0, (len(batch), -1)).mean(1).double().cpu().numpy()
            rows = batch.indices.numpy()
            sums[rows] += means
            counts[rows] += 1
        del loader
        # A loader is part of a reference cycle. Workers that are forked later would inherit it as garbage, collect it
        # and complain about processes that are not their children.
        gc.collect()
    decoded = np.flatnonzero(counts)
    if not len(decoded):
        raise VideoError(f"none of the {len(table)} clips can be decoded")
    scored = table.take(decoded)
    return Predictions(
        # A mean of probabilities in float32 may exceed 1 by rounding.
        probabilities=np.clip(sums[decoded] / counts[decoded, None], 0, 1),
        targets=targets.of_clips(scored),
        groups=[scored.group(row) for row in range(len(scored))],
        head=head,
        ids=[scored.id[row] for row in range(len(scored))],
    )


def _samplers(preprocess: PreprocessConfig, *, published: bool, views: int) -> list[FrameSampler]:
    """Return the frame sampler of every view."""
    frames = preprocess.num_frames
    if published:
        return [PublishedFrames(frames, view, views) for view in range(views)]
    return [WindowView(frames, preprocess.window_seconds, view, views) for view in range(views)]
