"""Frame-level presence: does a frame show a lesion at all?

The published detection F1 is this measure. A frame is positive if it has a true box, and predicted positive if any of
its predicted boxes reaches the threshold. Position, overlap and class play no role: the measure scores a classification
of frames by a detector's scores, not localisation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from endofm.evaluation.detection_records import FrameResult

_EPSILON = 1e-9
"""Keeps divisions defined; the published code has 1e-7, on percentages."""


class PresenceCounts(NamedTuple):
    """Confusion counts of frames."""

    true_positive: int
    false_positive: int
    true_negative: int
    false_negative: int


def presence_counts(frames: Sequence[FrameResult], threshold: float) -> PresenceCounts:
    """Count frames by true and predicted presence.

    Args:
        frames: The frames.
        threshold: Score from which a box counts.
    """
    # A frame of which only a region is ignored shows a lesion or not: it is not known which.
    frames = [frame for frame in frames if len(frame.true_labels) or not len(frame.ignored)]
    true = np.array([len(frame.true_labels) > 0 for frame in frames], bool)
    predicted = np.array([bool((frame.scores >= threshold).any()) for frame in frames], bool)
    return PresenceCounts(
        true_positive=int((true & predicted).sum()),
        false_positive=int((~true & predicted).sum()),
        true_negative=int((~true & ~predicted).sum()),
        false_negative=int((true & ~predicted).sum()),
    )


def presence_metrics(counts: PresenceCounts) -> dict[str, float]:
    """Return precision, recall, accuracy, specificity, F1 and F2, each in [0, 1]."""
    tp, fp, tn, fn = counts
    precision, recall = tp / (tp + fp + _EPSILON), tp / (tp + fn + _EPSILON)
    return {
        "presence_precision": precision,
        "presence_recall": recall,
        "presence_accuracy": (tp + tn) / (tp + fp + tn + fn + _EPSILON),
        "presence_specificity": tn / (tn + fp + _EPSILON),
        "presence_f1": f_score(precision, recall),
        "presence_f2": f_score(precision, recall, beta=2.0),
    }


def f_score(precision: float, recall: float, *, beta: float = 1.0) -> float:
    """Return the F score, 0 where precision and recall are 0."""
    square = beta * beta
    return (1 + square) * precision * recall / (square * precision + recall + _EPSILON)
