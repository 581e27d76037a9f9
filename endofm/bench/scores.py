"""Scores of one encoder on one set, with the resamples that intervals and paired tests rest on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from endofm.bench.attentive_probe import attentive_probe, token_components
from endofm.bench.frozen import Embedded
from endofm.bench.probe_set import Int64Array, ProbeSet
from endofm.bench.suite import Metric, ProbeSettings
from endofm.errors import InputError
from endofm.evaluation.auroc import auroc, macro_auroc
from endofm.evaluation.bootstrap import BootstrapSettings, resample
from endofm.evaluation.folds import draw_shots, group_folds
from endofm.evaluation.knn import nearest
from endofm.evaluation.labelled_features import LabelledFeatures, validation_pairs
from endofm.evaluation.probes import knn_probe, prototype_probe
from endofm.evaluation.ridge_probe import ridge_probe

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True)
class ProbeScore:
    """A score over all items to score.

    Attributes:
        name: Name in tables: that of the probe, or ``nearest`` and ``AUROC`` of retrieval.
        metric: Name of the metric.
        value: The score.
        draws: The score over every resample of the groups, float64 ``(resamples,)``.
        chosen: Settings that were chosen on validation.
    """

    name: str
    metric: str
    value: float
    draws: Float64Array
    chosen: dict[str, Any]


@dataclass(frozen=True, eq=False)
class _Split:
    """Rows to train on, to choose on and to score; rows of ``features`` throughout."""

    train: Int64Array
    validation: Int64Array
    test: Int64Array


def score_set(
    data: ProbeSet, embedded: Embedded, how: ProbeSettings, *, resamples: int
) -> tuple[list[ProbeScore], list[str]]:
    """Score an encoder.

    Args:
        data: Labels, groups and split.
        embedded: Its embeddings of the items.
        how: Probes and their candidates.
        resamples: Resamples of the groups; the set may limit them.

    Returns:
        Scores, without those of cells if the encoder has no embeddings of cells; and a sentence for every probe that
        the set has too few groups for.
    """
    settings = BootstrapSettings(resamples=min(resamples, how.resamples))
    if "retrieval" in how.probes:
        return _retrieval(data, embedded.items, settings), []
    embeddings = embedded.cells if data.has_cells else embedded.items
    if embeddings is None:
        return [], []
    features = _features(data, embeddings)
    splits = _splits(data, features, how)
    scores, notes = [], []
    for probe in how.probes:
        if probe == "attentive" and (embedded.cells is None or data.has_cells):
            continue
        try:
            predicted, chosen = _predict(probe, features, embedded, splits, how)
        except InputError as error:
            notes.append(f"{probe}: {error}.")
            continue
        tested = np.concatenate([split.test for split in splits])
        values = _statistic(predicted[:, tested], features.labels[tested], how.metric)
        total, draws = resample(values, [features.groups[row] for row in tested], settings)
        scores.append(
            ProbeScore(name=probe, metric=how.metric, value=total["score"], draws=draws["score"], chosen=chosen)
        )
    return scores, notes


def _features(data: ProbeSet, embeddings: Float32Array) -> LabelledFeatures:
    """Return the labelled rows: items, or cells of items with the group of their item."""
    used = data.labels >= 0
    rows = np.nonzero(used)[0].tolist()
    groups = data.groups
    return LabelledFeatures(
        embeddings=np.ascontiguousarray(embeddings[used], np.float32),
        labels=data.labels[used],
        groups=[groups[row] for row in rows],
        items=[data.items[row].name for row in rows],
        classes=data.classes,
    )


def _splits(data: ProbeSet, features: LabelledFeatures, how: ProbeSettings) -> list[_Split]:
    none = np.empty(0, np.int64)
    if how.folds:
        folds = group_folds(features.labels, features.groups, features.classes, how.folds)
        return [_Split(train, none, test) for train, test in folds]
    member = np.nonzero(data.labels >= 0)[0]
    train, validation, test = (np.flatnonzero(data.part(part)[member]) for part in ("train", "val", "test"))
    if not len(train) or not len(test):
        raise InputError(f"the set has {len(train)} items to train on and {len(test)} to score; both are needed")
    return [_Split(train, validation, test)]


def _predict(
    probe: str, features: LabelledFeatures, embedded: Embedded, splits: Sequence[_Split], how: ProbeSettings
) -> tuple[Float64Array, dict[str, Any]]:
    """Return scores ``(draws, rows, classes)`` of all rows that some split tests, and what was chosen."""
    repeats = how.draws if probe == "few-shot" else 1
    predicted = np.zeros((repeats, len(features), len(features.classes)))
    chosen: dict[str, Any] = {}
    for split in splits:
        rows = features
        if probe == "attentive":
            assert embedded.cells is not None
            rows = _with_embeddings(features, token_components(embedded.cells, split.train))
        train, test = rows.select(split.train), rows.select(split.test)
        validation = rows.select(split.validation) if len(split.validation) else None
        if probe == "few-shot":
            for seed in range(how.draws):
                drawn, _ = draw_shots(train.labels, train.groups, train.classes, how.shots, seed=seed)
                predicted[seed, split.test] = prototype_probe(train.select(drawn), test)
        elif probe == "attentive":
            result = attentive_probe(train, test, steps=how.steps, validation=validation)
            predicted[0, split.test] = result.scores
            chosen.setdefault("steps", []).append(result.steps)
        elif probe == "linear":
            predicted[0, split.test] = ridge_probe(train, test, penalties=how.penalties, validation=validation)
        else:
            k = _neighbours(train, validation, how.neighbours)
            predicted[0, split.test] = knn_probe(train, test, k=k)
            chosen.setdefault("k", []).append(k)
    return predicted, chosen


def _neighbours(train: LabelledFeatures, validation: LabelledFeatures | None, candidates: Sequence[int]) -> int:
    if len(candidates) == 1:
        return candidates[0]
    values = np.zeros(len(candidates))
    for inner, held in validation_pairs(train, validation):
        values += [macro_auroc(knn_probe(inner, held, k=k), held.labels) for k in candidates]
    return candidates[int(np.nanargmax(values))]


def _with_embeddings(features: LabelledFeatures, embeddings: Float32Array) -> LabelledFeatures:
    return LabelledFeatures(
        embeddings=embeddings,
        labels=features.labels,
        groups=features.groups,
        items=features.items,
        classes=features.classes,
    )


def _statistic(predicted: Float64Array, labels: Int64Array, metric: Metric) -> Callable[[Int64Array], dict[str, float]]:
    """Return the metric over some rows, averaged over draws; ``predicted`` is ``(draws, rows, classes)``."""

    def statistic(indices: Int64Array) -> dict[str, float]:
        return {"score": float(np.mean([measure(draw[indices], labels[indices]) for draw in predicted]))}

    measure = METRICS[metric]
    return statistic


def _macro_f1(scores: Float64Array, labels: Int64Array) -> float:
    called = scores.argmax(axis=1)
    return float(np.mean(list(_f1_of_classes(called, labels))))


def _f1_of_classes(called: Int64Array, labels: Int64Array) -> Iterator[float]:
    for label in np.unique(labels):
        hits = int(((called == label) & (labels == label)).sum())
        yield 2 * hits / (int((called == label).sum()) + int((labels == label).sum()))


def _accuracy(scores: Float64Array, labels: Int64Array) -> float:
    return float((scores.argmax(axis=1) == labels).mean())


METRICS: dict[Metric, Callable[[Float64Array, Int64Array], float]] = {
    "auroc": macro_auroc,
    "macro-f1": _macro_f1,
    "accuracy": _accuracy,
}
"""Metrics of class scores ``(rows, classes)`` and labels; macro-F1 is over the classes that occur."""


def _retrieval(data: ProbeSet, embeddings: Float32Array, settings: BootstrapSettings) -> list[ProbeScore]:
    """Return how often the nearest item is of the same class, and the AUROC of all others by similarity."""
    rows = torch.from_numpy(np.ascontiguousarray(embeddings))
    # An item is its own nearest one: its number as group leaves it out.
    own = torch.arange(len(rows))
    similarity, order = nearest(rows, rows, len(rows), bank_groups=own, query_groups=own)
    same = data.labels[order.clamp(min=0).numpy()] == data.labels[:, None]
    known = (order >= 0).numpy()
    first = same[:, 0].astype(float)
    areas = np.array([auroc(s[k], hit[k]) for s, hit, k in zip(similarity.numpy(), same, known, strict=True)])

    def statistic(indices: Int64Array) -> dict[str, float]:
        return {"nearest": float(first[indices].mean()), "AUROC": float(np.nanmean(areas[indices]))}

    values, draws = resample(statistic, data.groups, settings)
    metrics = {"nearest": "share", "AUROC": "auroc"}
    return [
        ProbeScore(name=name, metric=metrics[name], value=value, draws=draws[name], chosen={})
        for name, value in values.items()
    ]
