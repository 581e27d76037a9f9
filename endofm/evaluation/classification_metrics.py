"""Classification metrics, computed by torchmetrics; NaN where a metric is undefined on the data.

==================  ====================================================================================================
name                definition
==================  ====================================================================================================
accuracy            fraction of correct predictions (multi-label: of correct yes-or-no answers)
balanced_accuracy   mean over the classes that occur of their recall (multi-label: of recall and specificity)
f1, precision,      of the last label where there are two classes (that is the published F1 of PolypDiag);
recall              otherwise the mean over the classes that occur
specificity         recall of the first label; two classes only
auroc               area under the ROC curve: of the last label where there are two classes, otherwise the mean over
                    classes, each against the rest
auprc               average precision, averaged like auroc
calibration_error   expected calibration error with 15 bins, of the predicted class (multi-label: mean over labels)
==================  ====================================================================================================
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from endofm.errors import require_extra
from endofm.evaluation.predictions import Predictions

require_extra("torchmetrics", "train", "Computing metrics")
from torchmetrics.functional import classification as tm  # noqa: E402 (after the message about the extra)

_NAN = float("nan")
_BINS = 15


def classification_metrics(predictions: Predictions) -> dict[str, float]:
    """Return every metric of the module's table by name.

    Args:
        predictions: Probabilities with their targets.
    """
    head = predictions.head
    rows = per_class_metrics(predictions)
    per_class = {name: np.array([row[name] for row in rows.values()]) for name in next(iter(rows.values()))}
    occurs = per_class["support"] > 0
    predicted, targets = torch.from_numpy(predictions.predicted), torch.from_numpy(predictions.targets)
    metrics = {"accuracy": float((predicted == targets).float().mean())}
    if head.multi_label:
        metrics["balanced_accuracy"] = _mean((per_class["recall"] + per_class["specificity"]) / 2)
    else:
        # scikit-learn's definition: a class that does not occur has no recall to average.
        metrics["balanced_accuracy"] = _mean(per_class["recall"][occurs])
    # With two exclusive classes the last label is the positive one, as in the published evaluation of PolypDiag.
    binary = head.num_classes == 2 and not head.multi_label
    for name in ("f1", "precision", "recall"):
        metrics[name] = float(per_class[name][1]) if binary else _mean(per_class[name][occurs])
    if binary:
        metrics["specificity"] = float(per_class["recall"][0])
    for name in ("auroc", "auprc"):
        metrics[name] = float(per_class[name][1]) if binary else _mean(per_class[name])
    metrics["calibration_error"] = _calibration_error(predictions)
    return metrics


def per_class_metrics(predictions: Predictions) -> dict[str, dict[str, float]]:
    """Return metrics of every class against the rest, by label.

    ``support`` is the number of items of the class. A metric is NaN where a class that never or always occurs leaves
    it undefined.
    """
    rows = {}
    for index, label in enumerate(predictions.head.labels):
        if predictions.head.multi_label:
            target, predicted = predictions.targets[:, index], predictions.predicted[:, index]
        else:
            target, predicted = (values == index for values in (predictions.targets, predictions.predicted))
        rows[label] = _one_against_rest(
            torch.from_numpy(predictions.probabilities[:, index].copy()),
            torch.from_numpy(np.asarray(predicted, np.int64)),
            torch.from_numpy(np.asarray(target, np.int64)),
        )
    return rows


def confusion_matrix(predictions: Predictions) -> list[list[list[int]]] | list[list[int]]:
    """Return counts with targets in rows and predictions in columns; one 2 x 2 matrix per label if multi-label."""
    head = predictions.head
    predicted, targets = torch.from_numpy(predictions.predicted), torch.from_numpy(predictions.targets)
    if head.multi_label:
        counts = tm.multilabel_confusion_matrix(predicted, targets, head.num_classes)
    else:
        counts = tm.multiclass_confusion_matrix(predicted, targets, head.num_classes)
    listed: list[list[list[int]]] | list[list[int]] = counts.tolist()
    return listed


def _one_against_rest(probability: Tensor, predicted: Tensor, target: Tensor) -> dict[str, float]:
    support, count = int(target.sum()), len(target)

    # torchmetrics returns 0 where a metric is undefined, which would read as the worst possible score.
    def value(metric: Callable[..., Tensor], scores: Tensor, defined: bool = True) -> float:
        return float(metric(scores, target, validate_args=False)) if defined else _NAN

    both = 0 < support < count
    return {
        "support": float(support),
        "f1": value(tm.binary_f1_score, predicted, support > 0 or bool(predicted.any())),
        "precision": value(tm.binary_precision, predicted, bool(predicted.any())),
        "recall": value(tm.binary_recall, predicted, support > 0),
        "specificity": value(tm.binary_specificity, predicted, support < count),
        "auroc": value(tm.binary_auroc, probability, both),
        "auprc": value(tm.binary_average_precision, probability, support > 0),
    }


def _calibration_error(predictions: Predictions) -> float:
    probabilities = torch.from_numpy(predictions.probabilities).clamp(0, 1)
    targets = torch.from_numpy(predictions.targets)
    if not predictions.head.multi_label:
        classes = predictions.head.num_classes
        return float(
            tm.multiclass_calibration_error(probabilities, targets, classes, n_bins=_BINS, validate_args=False)
        )
    errors = [
        float(tm.binary_calibration_error(column, target, n_bins=_BINS, validate_args=False))
        for column, target in zip(probabilities.T.contiguous(), targets.T, strict=True)
    ]
    return sum(errors) / len(errors)


def _mean(values: npt.NDArray[np.float64]) -> float:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else _NAN
