"""From probabilities to what is predicted."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from endofm.tasks.classification.config import ClassificationHeadConfig


def decide(probabilities: npt.NDArray[Any], head: ClassificationHeadConfig) -> npt.NDArray[np.int64]:
    """Return what a classifier predicts; see the thresholds of :class:`~endofm.config.ClassificationHeadConfig`.

    Args:
        probabilities: ``(..., num_classes)``.
        head: Thresholds, and whether several labels may hold.

    Returns:
        int64; ``(...)`` class numbers, or ``(..., num_classes)`` of 0 and 1.
    """
    if head.multi_label:
        return (probabilities >= np.array(head.thresholds or [0.5] * head.num_classes)).astype(np.int64)
    ratios = probabilities / np.array(head.thresholds) if head.thresholds else probabilities
    return np.asarray(ratios.argmax(axis=-1), np.int64)
