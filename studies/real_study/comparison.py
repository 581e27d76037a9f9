"""Scores of cells with intervals over groups of items, and paired differences between arms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from endofm.evaluation.auroc import auroc
from endofm.evaluation.bootstrap import BootstrapSettings, Interval, bootstrap
from studies.real_study.kept_results import ScoredItems

Values = Sequence[float]


def item_score(items: ScoredItems, values: Values) -> float:
    """Return the score of a cell: AUROC of probabilities, or the mean of scores of items."""
    return _score(items, np.asarray(values, np.float64), np.arange(len(values)))


def score_interval(items: ScoredItems, values: Values, resamples: int) -> Interval:
    """Return the score of a cell with its interval over groups."""
    scores = np.asarray(values, np.float64)
    return bootstrap(
        lambda indices: {"score": _score(items, scores, indices)},
        items.groups,
        BootstrapSettings(resamples=resamples),
    )["score"]


def paired_difference(
    tasks: Mapping[str, ScoredItems],
    first: Mapping[str, Sequence[Values]],
    second: Mapping[str, Sequence[Values]],
    resamples: int,
) -> Interval:
    """Return how much one arm is above another: the mean over tasks and seeds, with its interval over groups.

    Both arms are scored on the same resampled groups, and tasks that share groups are resampled together. The seeds are
    averaged, not resampled: the interval says nothing about other seeds.

    Args:
        tasks: Scored items by task.
        first: Values of the arm's cells by task, one for each seed.
        second: Values of the other arm's cells of the same seeds.
        resamples: Resamples of the bootstrap.
    """
    # One row per item of every task; the rows of a group, whatever their task, are drawn together.
    names = list(first)
    groups = [group for task in names for group in tasks[task].groups]
    places = np.concatenate([np.arange(len(tasks[task].groups)) for task in names])
    owners = np.concatenate([np.full(len(tasks[task].groups), number) for number, task in enumerate(names)])
    arrays = {
        task: [
            (np.asarray(a, np.float64), np.asarray(b, np.float64))
            for a, b in zip(first[task], second[task], strict=True)
        ]
        for task in names
    }

    def statistic(indices: npt.NDArray[np.int64]) -> dict[str, float]:
        means = []
        for number, task in enumerate(names):
            drawn = places[indices[owners[indices] == number]]
            items = tasks[task]
            differences = [_score(items, a, drawn) - _score(items, b, drawn) for a, b in arrays[task]]
            means.append(float(np.mean(differences)))
        return {"difference": float(np.mean(means))}

    return bootstrap(statistic, groups, BootstrapSettings(resamples=resamples))["difference"]


def _score(items: ScoredItems, values: npt.NDArray[np.float64], indices: npt.NDArray[np.int64]) -> float:
    if not len(indices):
        return float("nan")
    if items.positive:
        return auroc(values[indices], np.asarray(items.positive)[indices])
    return float(values[indices].mean())
