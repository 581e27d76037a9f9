"""Random predictions that are better than chance."""

from __future__ import annotations

import numpy as np

from endofm.evaluation.predictions import Predictions
from endofm.tasks.classification.config import ClassificationHeadConfig


def made_predictions(classes: int, *, seed: int = 0, count: int = 60, multi_label: bool = False) -> Predictions:
    """Return predictions that are better than chance; five items per video."""
    generator = np.random.default_rng(seed)
    head = ClassificationHeadConfig(labels=tuple(f"c{i}" for i in range(classes)), multi_label=multi_label)
    groups = [f"video {i // 5}" for i in range(count)]
    if multi_label:
        targets = generator.integers(0, 2, (count, classes))
        probabilities = np.clip(0.5 + 0.3 * (targets - 0.5) + 0.3 * generator.standard_normal(targets.shape), 0, 1)
    else:
        targets = generator.integers(0, classes, count)
        scores = generator.standard_normal((count, classes)) + 1.5 * np.eye(classes)[targets]
        probabilities = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    return Predictions(probabilities=probabilities, targets=targets, groups=groups, head=head)
