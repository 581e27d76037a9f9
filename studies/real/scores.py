"""Scores of frozen embeddings on a probe, with intervals over its groups."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from endofm.evaluation.auroc import auroc, macro_auroc
from endofm.evaluation.bootstrap import BootstrapSettings, Interval, bootstrap
from endofm.evaluation.folds import group_folds
from endofm.evaluation.knn import nearest
from endofm.evaluation.labelled_features import LabelledFeatures
from endofm.evaluation.probes import knn_probe
from endofm.evaluation.ridge_probe import PENALTIES, ridge_probe
from studies.real.probe_sets import Probe

Float32Array = npt.NDArray[np.float32]

NEIGHBOURS = 20
_PATCH_RESAMPLES = 200
"""Resamples of patches, of which there are thousands."""


def score(probe: Probe, embeddings: Float32Array, resamples: int = 1000) -> dict[str, Interval]:
    """Return AUROC by k-NN and by a linear probe; of patches the linear one alone; of retrieval its own two scores.

    Args:
        probe: Pictures, labels and split.
        embeddings: ``(pictures, width)``, or ``(pictures, 6, 6, width)`` for patches.
        resamples: Resamples of the groups for intervals; 0 for none.
    """
    if probe.retrieval:
        return _retrieval(probe, embeddings, resamples)
    if probe.folds:
        return _cross_validated(probe, embeddings, resamples)
    train, test = (_features(probe, embeddings, part) for part in (~probe.test, probe.test))
    if probe.patches:
        settings = BootstrapSettings(resamples=min(resamples, _PATCH_RESAMPLES))
        penalties = PENALTIES if probe.penalty is None else (probe.penalty,)
        return {"linear": _interval(ridge_probe(train, test, penalties=penalties), test, settings)}
    settings = BootstrapSettings(resamples=resamples)
    return {
        "k-NN": _interval(knn_probe(train, test, k=NEIGHBOURS), test, settings),
        "linear": _interval(ridge_probe(train, test), test, settings),
    }


def _cross_validated(probe: Probe, embeddings: Float32Array, resamples: int) -> dict[str, Interval]:
    features = _features(probe, embeddings, probe.test)
    scores = {name: np.zeros((len(features), len(features.classes))) for name in ("k-NN", "linear")}
    for train, test in group_folds(features.labels, features.groups, features.classes, probe.folds):
        known, asked = features.select(train), features.select(test)
        scores["k-NN"][test] = knn_probe(known, asked, k=NEIGHBOURS)
        scores["linear"][test] = ridge_probe(known, asked)
    settings = BootstrapSettings(resamples=resamples)
    return {name: _interval(values, features, settings) for name, values in scores.items()}


def _features(probe: Probe, embeddings: Float32Array, part: npt.NDArray[np.bool_]) -> LabelledFeatures:
    labels = probe.labels[part]
    used = labels >= 0
    members = np.broadcast_to(np.arange(len(labels)).reshape(-1, *[1] * (labels.ndim - 1)), labels.shape)[used]
    names = [group for group, chosen in zip(probe.groups, part, strict=True) if chosen]
    groups = [names[index] for index in members]
    return LabelledFeatures(
        embeddings=np.ascontiguousarray(embeddings[part][used], np.float32),
        labels=labels[used],
        groups=groups,
        items=groups,
        classes=probe.classes,
    )


def _interval(scores: npt.NDArray[np.float64], test: LabelledFeatures, settings: BootstrapSettings) -> Interval:
    def statistic(indices: npt.NDArray[np.int64]) -> dict[str, float]:
        return {"auroc": macro_auroc(scores[indices], test.labels[indices])}

    return bootstrap(statistic, test.groups, settings)["auroc"]


def _retrieval(probe: Probe, embeddings: Float32Array, resamples: int) -> dict[str, Interval]:
    """Return how often the nearest picture is of the same class, and the AUROC of all others by similarity."""
    rows = torch.from_numpy(np.ascontiguousarray(embeddings))
    # A picture is its own nearest one: its number as group leaves it out.
    own = torch.arange(len(rows))
    similarity, order = nearest(rows, rows, len(rows), bank_groups=own, query_groups=own)
    same = probe.labels[order.clamp(min=0).numpy()] == probe.labels[:, None]
    known = (order >= 0).numpy()
    first = same[:, 0].astype(float)
    areas = np.array([auroc(s[k], hit[k]) for s, hit, k in zip(similarity.numpy(), same, known, strict=True)])

    def statistic(indices: npt.NDArray[np.int64]) -> dict[str, float]:
        return {"nearest": float(first[indices].mean()), "AUROC": float(np.nanmean(areas[indices]))}

    return bootstrap(statistic, probe.groups, BootstrapSettings(resamples=resamples))
