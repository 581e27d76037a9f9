"""Scores of frozen features on "polyp in view"."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from endofm.config import PreprocessConfig
from endofm.config.checks import require_int
from endofm.data.clip_dataset import ClipDataset
from endofm.data.frame_samplers import UniformFrames
from endofm.data.loader import ClipLoader
from endofm.errors import InputError
from endofm.evaluation.feature_evaluation import FeatureEvaluation, evaluate_features
from endofm.evaluation.labelled_features import LabelledFeatures
from endofm.transforms import Processor

METRICS = ("f1", "balanced_accuracy", "auroc")

THUMBNAIL = 8
"""Side of the thumbnails in pixels."""


@dataclass(frozen=True, kw_only=True)
class ScoreSettings:
    """Evaluation of frozen features: cross-validation by patient over the labelled clips.

    Attributes:
        folds: Number of folds.
        repeats: Deals into folds whose scores are averaged.
        k: Neighbours that vote in k-NN.
    """

    folds: int = 5
    repeats: int = 3
    k: int = 10

    def __post_init__(self) -> None:
        require_int(self, "folds", low=2)
        require_int(self, "repeats", "k")


class LabelledClips:
    """The labelled clips, preprocessed once for the model.

    Args:
        folder: Rendered set.
        preprocess: Preprocessing of the model.
        num_frames: Frames per clip.
        batch_size: Clips to read at a time.

    Raises:
        InputError: If the set lacks clips with or without a polyp.
    """

    def __init__(self, folder: Path, preprocess: PreprocessConfig, num_frames: int, batch_size: int) -> None:
        processor = Processor(preprocess)
        data = ClipDataset(folder, sampler=UniformFrames(num_frames), transform=lambda frames, _: processor(frames))
        batches = list(ClipLoader(data, batch_size, shuffle=False, strict=True))
        self.clips: Tensor = torch.cat([batch.frames for batch in batches])
        labels = torch.cat([batch.labels for batch in batches]).numpy()
        if set(labels.tolist()) != {0, 1}:
            raise InputError(
                f"{folder}: expected clips with and without a polyp, got the labels {set(labels.tolist())}"
            )
        self.labels: npt.NDArray[np.int64] = labels
        self.patients = [patient for batch in batches for patient in batch.patients]
        self.ids = [name for batch in batches for name in batch.ids]

    def with_features(self, features: npt.NDArray[np.float32]) -> LabelledFeatures:
        """Return features of all clips with their labels."""
        return LabelledFeatures(
            embeddings=features,
            labels=self.labels,
            groups=self.patients,
            items=self.ids,
            classes=("no polyp", "polyp"),
        )


@torch.no_grad()
def encoder_features(encoder: nn.Module, clips: Tensor) -> npt.NDArray[np.float32]:
    """Return the class tokens of clips ``(clips, 3, time, height, width)``."""
    encoder.eval()
    return torch.cat([encoder(part) for part in clips.split(32)]).float().numpy()


def thumbnail_features(clips: Tensor) -> npt.NDArray[np.float32]:
    """Return mean and deviation over time of every clip's thumbnail: a baseline without any network."""
    small = torch.nn.functional.adaptive_avg_pool3d(clips, (clips.shape[2], THUMBNAIL, THUMBNAIL))
    return torch.cat((small.mean(2), small.std(2)), dim=1).flatten(1).numpy()


def score(features: LabelledFeatures, settings: ScoreSettings) -> dict[str, dict[str, float]]:
    """Return scores of k-NN and a linear probe on held-out patients, each the mean over repeated deals of folds."""
    scores = {}
    for method in ("knn", "linear"):
        deals = [
            evaluate_features(
                features,
                how=FeatureEvaluation(method=method, folds=settings.folds, seed=seed, k=settings.k, resamples=0),
            ).metrics
            for seed in range(settings.repeats)
        ]
        scores[method] = {name: float(np.mean([deal[name].value for deal in deals])) for name in METRICS}
    return scores
