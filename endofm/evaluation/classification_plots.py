"""ROC curves and confusion matrices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from endofm.errors import require_extra
from endofm.evaluation.classification_metrics import confusion_matrix, per_class_metrics
from endofm.evaluation.predictions import Predictions
from endofm.visualize.figures import add_legend, new_figure, save_figure


def plot_roc(predictions: Predictions, path: str | Path) -> Path:
    """Draw the ROC curve of every class against the rest; of the last label only where there are two classes.

    Args:
        predictions: Probabilities with their targets. Classes that never or always occur are left out.
        path: Picture to write; the suffix chooses the format.

    Returns:
        The path.

    Raises:
        MissingExtraError: If matplotlib or scikit-learn is not installed.
    """
    sklearn_metrics = require_extra("sklearn.metrics", "train", "A ROC curve")
    head, path = predictions.head, Path(path)
    figure, axes = _figure(5.2, 5)
    rows = per_class_metrics(predictions)
    shown = head.labels[1:] if head.num_classes == 2 and not head.multi_label else head.labels
    curves: dict[str, Any] = {}
    for label in shown:
        index, area = head.labels.index(label), rows[label]["auroc"]
        if np.isnan(area):
            continue
        target = predictions.targets[:, index] if head.multi_label else predictions.targets == index
        false_positives, true_positives, _ = sklearn_metrics.roc_curve(target, predictions.probabilities[:, index])
        # Steps, not slopes: between two thresholds that occur, the rates do not change.
        (curve,) = axes.step(false_positives, true_positives, where="post")
        curves[f"{label} (area {area:.3f})"] = curve
    axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8, linestyle="--")
    groups = len(set(predictions.groups))
    axes.set(
        xlim=(0, 1),
        ylim=(0, 1),
        xlabel="1 - specificity (false positive rate)",
        ylabel="sensitivity (true positive rate)",
        title=f"ROC, {len(predictions)} items of {groups} patients or videos",
    )
    axes.set_aspect("equal")
    if curves:
        add_legend(axes, curves, loc="lower right")
    return save_figure(figure, path, dpi=120)


def plot_confusion(predictions: Predictions, path: str | Path) -> Path:
    """Draw the confusion matrix, one per label if several labels may hold; colours are fractions of a row.

    Args:
        predictions: Probabilities with their targets.
        path: Picture to write; the suffix chooses the format.

    Returns:
        The path.

    Raises:
        MissingExtraError: If matplotlib is not installed.
    """
    head, path = predictions.head, Path(path)
    matrices = np.array(confusion_matrix(predictions))
    if not head.multi_label:
        matrices = matrices[None]
    side = 1.6 + 0.7 * matrices.shape[-1]
    figure, axes = _figure(side * len(matrices) + 0.6, side, columns=len(matrices))
    for index, (matrix, axis) in enumerate(zip(matrices, np.atleast_1d(axes), strict=True)):
        # A row sums to 1, so that rare classes are as visible as common ones; an empty row stays 0.
        fractions = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
        axis.imshow(fractions, cmap="Blues", vmin=0, vmax=1)
        for (row, column), count in np.ndenumerate(matrix):
            colour = "white" if fractions[row, column] > 0.5 else "black"
            axis.text(column, row, str(count), ha="center", va="center", color=colour)
        names = ("no", "yes") if head.multi_label else head.labels
        ticks = range(len(names))
        axis.set_xticks(ticks, names, rotation=45, ha="right")
        axis.set_yticks(ticks, names)
        axis.set(xlabel="predicted", ylabel="target", title=head.labels[index] if head.multi_label else "")
    return save_figure(figure, path, dpi=120)


def _figure(width: float, height: float, *, columns: int = 1) -> tuple[Any, Any]:
    figure = new_figure(width, height, extra="viz", purpose="Drawing a picture of a report")
    return figure, figure.subplots(1, columns)
