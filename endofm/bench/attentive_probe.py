"""Attentive probe: one trained query over the frozen tokens of an item, and a linear layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from endofm.bench.probe_set import GRID
from endofm.evaluation.auroc import macro_auroc
from endofm.evaluation.labelled_features import LabelledFeatures, validation_pairs
from endofm.outputs import EncoderOutput
from endofm.tasks.classification.classification_head import ClassificationHead
from endofm.tasks.classification.config import ClassificationHeadConfig

Float32Array = npt.NDArray[np.float32]

WIDTH = 128
"""Largest number of principal components of the tokens that the probe sees, so that its cost depends little on the
encoder."""
_CELLS = GRID * GRID
_HEADS = 4
_PART = 256
"""Items whose tokens are in memory at a time."""
_BATCH = 64
_LEARNING_RATE = 1e-3
_WEIGHT_DECAY = 0.05


@dataclass(frozen=True)
class AttentiveResult:
    """Scores of the test items, float64 ``(items, classes)``, and the training steps that were chosen."""

    scores: npt.NDArray[np.float64]
    steps: int


def attentive_probe(
    train: LabelledFeatures,
    test: LabelledFeatures,
    *,
    steps: Sequence[int],
    validation: LabelledFeatures | None = None,
    seed: int = 0,
) -> AttentiveResult:
    """Train the attentive head of this package on frozen tokens.

    Args:
        train: Items with known labels; ``embeddings`` holds their tokens as :func:`token_components` returns them.
        test: Items to score.
        steps: Candidates for the number of training steps; the one with the highest AUROC on the validation items is
            used. The test items have no part in the choice.
        validation: Items to choose on; without any, inner folds that never split a group.
        seed: Seed of the head's weights, of the batches and of the folds.

    Raises:
        InputError: If there are too few groups to choose on.
    """
    candidates = sorted(set(steps))
    chosen = candidates[0]
    if len(candidates) > 1:
        values = np.zeros(len(candidates))
        for inner, held in validation_pairs(train, validation, seed=seed):
            scored = _trained(inner, held, candidates, seed)
            values += [macro_auroc(scores, held.labels) for scores in scored]
        chosen = candidates[int(np.nanargmax(values))]
    return AttentiveResult(_trained(train, test, [chosen], seed)[0], chosen)


def _trained(
    train: LabelledFeatures, asked: LabelledFeatures, steps: Sequence[int], seed: int
) -> list[npt.NDArray[np.float64]]:
    """Return scores of the asked items after each number of steps, ascending."""
    known, queries = _tokens(train), _tokens(asked)
    generator = torch.Generator().manual_seed(seed)
    labels = torch.from_numpy(train.labels)
    counts = torch.bincount(labels, minlength=len(train.classes)).clamp(min=1)
    config = ClassificationHeadConfig(labels=train.classes, pooling="attentive", attentive_heads=_HEADS, dropout=0.0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = ClassificationHead(config, known.shape[-1])
    optimizer = torch.optim.AdamW(head.parameters(), lr=_LEARNING_RATE, weight_decay=_WEIGHT_DECAY)
    found = []
    for step in range(1, steps[-1] + 1):
        rows = torch.randint(len(known), (_BATCH,), generator=generator)
        # Classes are weighted alike whatever their frequency, as in the linear probe.
        loss = F.cross_entropy(_logits(head, known[rows]), labels[rows], weight=1 / counts)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if step in steps:
            with torch.no_grad():
                starts = range(0, len(queries), _PART)
                parts = [_logits(head, queries[start : start + _PART]).softmax(1) for start in starts]
            found.append(torch.cat(parts).double().numpy())
    return found


def _logits(head: ClassificationHead, tokens: Tensor) -> Tensor:
    # The head flattens the grid of an encoder: batch, time, rows, columns, width.
    logits: Tensor = head(EncoderOutput(tokens[:, 0], tokens[:, None, None]))
    return logits


def _tokens(features: LabelledFeatures) -> Tensor:
    return torch.from_numpy(features.embeddings).view(len(features), _CELLS, -1)


def token_components(cells: Float32Array, train: npt.NDArray[np.int64]) -> Float32Array:
    """Return the first principal components of standardised tokens, by the statistics of the training items.

    Args:
        cells: ``(items, 6, 6, width)``; it may be memory-mapped.
        train: Indices of the training items.

    Returns:
        float32 ``(items, 36 * components)``. Components are a multiple of the heads, and small ones are scaled up so
        that they can be read too.
    """
    width = cells.shape[-1]
    sums, products, count = np.zeros(width), np.zeros((width, width)), 0
    for part in np.array_split(train, len(train) // _PART + 1):
        rows = np.asarray(cells[part], np.float32).reshape(-1, width)
        sums += rows.sum(0, dtype=np.float64)
        products += rows.T @ rows
        count += len(rows)
    mean = sums / count
    covariance = products / count - np.outer(mean, mean)
    scale = 1 / np.where(np.diag(covariance) > 1e-12, np.diag(covariance), 1) ** 0.5
    size, basis = np.linalg.eigh(covariance * np.outer(scale, scale))
    kept = min(WIDTH, width // _HEADS * _HEADS)
    # Half whitening: equal sizes would raise the noise of the last components to the level of the first.
    basis = basis[:, ::-1][:, :kept] / np.maximum(size[::-1][:kept], 1e-3) ** 0.25
    project, centre = (scale[:, None] * basis).astype(np.float32), mean.astype(np.float32)
    out = np.empty((len(cells), _CELLS * kept), np.float32)
    for start in range(0, len(cells), _PART):
        rows = np.asarray(cells[start : start + _PART], np.float32).reshape(-1, width)
        out[start : start + _PART] = ((rows - centre) @ project).reshape(-1, _CELLS * kept)
    return out
