"""Paired comparisons of encoders: the same resamples of the groups for both, so that hard groups count for both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from endofm.evaluation.bootstrap import Interval, interval_of


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The reference encoder compared with another one by one score.

    Attributes:
        set_name: The set.
        score: Name of the score.
        encoder: The other encoder.
        difference: Score of the reference minus that of the other.
        p: Two-sided p value of the bootstrap; NaN without resamples.
        p_holm: The same after Holm's correction for all comparisons of the report.
    """

    set_name: str
    score: str
    encoder: str
    difference: Interval
    p: float
    p_holm: float = float("nan")


def compare(
    value: float, other: float, draws: npt.NDArray[np.float64], other_draws: npt.NDArray[np.float64]
) -> tuple[Interval, float]:
    """Return the difference of two scores with its interval and p value.

    The p value is twice the smaller share of resamples in which the difference is not positive, or not negative, each
    with one added resample (Davison and Hinkley, *Bootstrap Methods and their Application*, 1997, section 4.4).

    Args:
        value: Score of the first.
        other: Score of the second.
        draws: Scores of the first over resamples of the groups.
        other_draws: Scores of the second over the same resamples.
    """
    differences = draws - other_draws
    differences = differences[~np.isnan(differences)]
    interval = interval_of(value - other, differences)
    if not len(differences):
        return interval, float("nan")
    tail = min(int((differences <= 0).sum()), int((differences >= 0).sum())) + 1
    return interval, min(2 * tail / (len(differences) + 1), 1.0)


def with_holm(found: Sequence[Comparison]) -> list[Comparison]:
    """Return comparisons with Holm's correction over those that have a p value (Scand. J. Statist. 6, 1979)."""
    tested = sorted((each.p, index) for index, each in enumerate(found) if each.p == each.p)
    corrected = {index: float("nan") for index in range(len(found))}
    largest = 0.0
    for rank, (p, index) in enumerate(tested):
        largest = max(largest, min(p * (len(tested) - rank), 1.0))
        corrected[index] = largest
    return [replace(each, p_holm=corrected[index]) for index, each in enumerate(found)]
