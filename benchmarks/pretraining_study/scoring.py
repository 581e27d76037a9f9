"""What frozen features tell of "polyp in view"."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from settings import StudyConfig
from torch import Tensor, nn

from endofm.data.clip_dataset import ClipDataset
from endofm.data.frame_samplers import UniformFrames
from endofm.data.loader import ClipLoader
from endofm.errors import InputError
from endofm.evaluation.feature_evaluation import FeatureEvaluation, evaluate_features
from endofm.evaluation.labelled_features import LabelledFeatures
from endofm.transforms import Processor

METRICS = ("f1", "balanced_accuracy", "auroc")
THUMBNAIL = 8


class Labelled:
    """The labelled clips, prepared once as the model takes them.

    Args:
        study: The study.
        folder: Rendered set.
    """

    def __init__(self, study: StudyConfig, folder: Path) -> None:
        processor = Processor(study.model().preprocess)
        data = ClipDataset(
            folder, sampler=UniformFrames(study.num_frames), transform=lambda frames, _: processor(frames)
        )
        loader = ClipLoader(data, study.batch_size, shuffle=False, strict=True)
        batches = list(loader)
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
        """Return features of all clips beside their labels."""
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
    """Return the mean and the deviation over time of every clip's thumbnail: what can be had without any network."""
    small = torch.nn.functional.adaptive_avg_pool3d(clips, (clips.shape[2], THUMBNAIL, THUMBNAIL))
    return torch.cat((small.mean(2), small.std(2)), dim=1).flatten(1).numpy()


def score(study: StudyConfig, features: LabelledFeatures) -> dict[str, dict[str, float]]:
    """Return k-NN's and a linear probe's scores on held-out patients, each the mean over repeated deals of folds."""
    how, found = study.evaluation, {}
    for method in ("knn", "linear"):
        deals = [
            evaluate_features(
                features,
                how=FeatureEvaluation(method=method, folds=how.folds, seed=seed, k=how.k, resamples=0),
            ).metrics
            for seed in range(how.repeats)
        ]
        found[method] = {name: float(np.mean([deal[name].value for deal in deals])) for name in METRICS}
    return found
