"""Evaluation of an encoder during training: k nearest neighbours on labelled clips."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from endofm.config import ModelConfig
from endofm.data.clip_dataset import ClipDataset
from endofm.data.clip_table import ClipTable
from endofm.data.frame_samplers import UniformFrames
from endofm.data.listing import read_clips
from endofm.data.loader import ClipLoader
from endofm.data.same_files import identities
from endofm.errors import InputError, require_extra
from endofm.evaluation.knn import knn_probabilities
from endofm.models.encoder import VideoTransformer
from endofm.training.engine.distributed import full_tensor, rank, world_size
from endofm.training.engine.training_task import HealthRule
from endofm.training.pretrain_config import KnnConfig
from endofm.transforms.processor import Processor
from endofm.video.frames import UInt8Array

SMALLEST_SPREAD = 1e-3
"""Spread below which the features of all clips are equal up to rounding."""


class KnnEvaluator:
    """Scores an encoder on labelled clips that are held out of training.

    Every clip is classified by its nearest neighbours among the clips of other patients (or, where patients are not
    known, of other recordings).

    Args:
        config: Clips and classification rule.
        model: Architecture and preprocessing.
        trained_on: Training clips; None if they cannot be listed.
        num_workers: Data workers.

    Raises:
        InputError: If the clips are missing, lack labels, or some of them are training clips or copies of these.
    """

    def __init__(
        self, config: KnnConfig, model: ModelConfig, *, trained_on: ClipTable | None, num_workers: int = 0
    ) -> None:
        table = read_clips(*config.clips)
        table = table.take(table.label >= 0)
        groups = [table.group(index) for index in range(len(table))]
        if len(np.unique(table.label)) < 2 or len(set(groups)) < 2 or len(table) < world_size():
            raise InputError(
                f"knn.clips: nearest neighbours need labelled clips of at least two classes and two patients or "
                f"recordings, and one for each process; there are {len(table)} clips of {len(np.unique(table.label))} "
                f"classes and {len(set(groups))} patients or recordings in {', '.join(config.clips)}"
            )
        if trained_on is not None:
            names = identities([Path(path) for path in (*table.path, *trained_on.path)])
            shared = sorted(set(names[: len(table)]) & set(names[len(table) :]))
            if shared:
                raise InputError(
                    f"knn.clips: {len(shared)} of these clips are training clips or copies of them, which would "
                    f"make their score meaningless, e.g. {shared[0]}"
                )
        self._config, self._model = config, model
        self._groups = np.unique(groups, return_inverse=True)[1]
        self._classes = len(table.classes)
        data = ClipDataset(
            table,
            sampler=UniformFrames(model.preprocess.num_frames),
            transform=_Preprocess(Processor(model.preprocess)),
        )
        # Sharded here: a loader that does it drops the last clips, to give every process the same number.
        self._own = np.arange(rank(), len(table), world_size())
        self._loader = ClipLoader(data.subset(self._own), config.batch_size, shuffle=False, num_workers=num_workers)

    def __call__(self, encoder: nn.Module, epoch: int) -> Mapping[str, float]:
        """Return ``knn_f1`` (macro), ``knn_accuracy``, ``knn_majority`` and ``feature_spread``.

        ``knn_majority`` is the accuracy of always predicting the most frequent class. ``feature_spread`` is the
        standard deviation of unit-length features over clips, times the square root of their width: about 1 for
        directions that are uniformly distributed, 0 for equal ones.

        Args:
            encoder: Encoder in training; it is not modified.
            epoch: Index of the epoch, not used.
        """
        features, labels, groups = self._embed(encoder)
        # Every clip is a query and a neighbour; equal groups exclude the clip itself along with its patient.
        votes = knn_probabilities(
            features,
            labels,
            features,
            num_classes=self._classes,
            k=self._config.neighbours,
            bank_groups=groups,
            query_groups=groups,
        )
        predicted = votes.argmax(dim=1)
        f1 = require_extra("sklearn.metrics", "train", "The score of nearest neighbours").f1_score(
            labels.numpy(), predicted.numpy(), average="macro"
        )
        unit = F.normalize(features, dim=1)
        return {
            "knn_f1": float(f1),
            "knn_accuracy": float((predicted == labels).float().mean()),
            "knn_majority": float(labels.bincount().max() / len(labels)),
            "feature_spread": float(unit.std(dim=0).square().mean().sqrt() * unit.shape[1] ** 0.5),
        }

    def health_rules(self) -> tuple[HealthRule, ...]:
        """Return the rule that features of different clips differ."""
        return (
            HealthRule(
                metric="feature_spread",
                low=SMALLEST_SPREAD,
                rows=2,
                meaning="All held-out clips have the same feature (collapse); further training would be wasted.",
            ),
        )

    @torch.no_grad()
    def _embed(self, encoder: nn.Module) -> tuple[Tensor, Tensor, Tensor]:
        """Return features, labels and groups of all clips, on the CPU, in the order of the processes."""
        # A plain copy: the encoder in training may be sharded, and processes embed different numbers of batches, so
        # that its collectives would wait for one another.
        plain = VideoTransformer(self._model.transformer)
        plain.load_state_dict({name: full_tensor(value) for name, value in encoder.state_dict().items()})
        device = next(encoder.parameters()).device
        plain.to(device).eval()
        # Start with empty tensors: a process may have no readable clip.
        features, labels, indices = [torch.empty(0, plain.embed_dim)], [torch.empty(0).long()], [torch.empty(0).long()]
        for batch in self._loader:
            features.append(plain(batch.frames.to(device, non_blocking=True)).float().cpu())
            labels.append(batch.labels)
            indices.append(batch.indices)
        groups = torch.from_numpy(self._groups[self._own[torch.cat(indices).numpy()]]).long()
        own = (torch.cat(features), torch.cat(labels), groups)
        if world_size() == 1:
            return own
        parts: list[tuple[Tensor, Tensor, Tensor]] = [own] * world_size()
        dist.all_gather_object(parts, own)
        return (
            torch.cat([part[0] for part in parts]),
            torch.cat([part[1] for part in parts]),
            torch.cat([part[2] for part in parts]),
        )


@dataclass(frozen=True)
class _Preprocess:
    """The model's preprocessing as the transform of a data set."""

    processor: Processor

    def __call__(self, frames: UInt8Array, generator: np.random.Generator) -> Tensor:
        return self.processor(frames)
