"""Metrics of classification, computed by torchmetrics; a metric that is not defined on the data is not a number.

==================  ====================================================================================================
name                means
==================  ====================================================================================================
accuracy            right predictions (multi-label: right yes-or-no answers) over all
balanced_accuracy   mean over the classes that occur of their recall (multi-label: of recall and specificity)
f1, precision,      of the last label where there are two classes (that is the published F1 of PolypDiag);
recall              otherwise the mean over the classes that occur
specificity         recall of the first label; two classes only
auroc               area under the ROC curve: of the last label where there are two classes, otherwise the mean over
                    classes, each against the rest
auprc               average precision, likewise
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
        predictions: Probabilities beside the truth.
    """
    head = predictions.head
    rows = per_class_metrics(predictions)
    per_class = {name: np.array([row[name] for row in rows.values()]) for name in next(iter(rows.values()))}
    occurs = per_class["support"] > 0
    predicted, targets = torch.from_numpy(predictions.predicted), torch.from_numpy(predictions.targets)
    found = {"accuracy": float((predicted == targets).float().mean())}
    if head.multi_label:
        found["balanced_accuracy"] = _mean((per_class["recall"] + per_class["specificity"]) / 2)
    else:
        found["balanced_accuracy"] = _mean(per_class["recall"][occurs])
    two = head.num_classes == 2 and not head.multi_label
    for name in ("f1", "precision", "recall"):
        found[name] = float(per_class[name][1]) if two else _mean(per_class[name][occurs])
    if two:
        found["specificity"] = float(per_class["recall"][0])
    for name in ("auroc", "auprc"):
        found[name] = float(per_class[name][1]) if two else _mean(per_class[name])
    found["calibration_error"] = _calibration_error(predictions)
    return found


def per_class_metrics(predictions: Predictions) -> dict[str, dict[str, float]]:
    """Return metrics of every class against the rest, by label.

    ``support`` is how often the class holds. A metric is not a number where the class never or always holds and that
    leaves it undefined.
    """
    rows = {}
    for number, label in enumerate(predictions.head.labels):
        if predictions.head.multi_label:
            truth, said = predictions.targets[:, number], predictions.predicted[:, number]
        else:
            truth, said = (values == number for values in (predictions.targets, predictions.predicted))
        rows[label] = _against_the_rest(
            torch.from_numpy(predictions.probabilities[:, number].copy()),
            torch.from_numpy(np.asarray(said, np.int64)),
            torch.from_numpy(np.asarray(truth, np.int64)),
        )
    return rows


def confusion_matrix(predictions: Predictions) -> list[list[list[int]]] | list[list[int]]:
    """Return counts, rows are the truth and columns what was predicted; one 2 x 2 matrix per label if multi-label."""
    head = predictions.head
    said, truth = torch.from_numpy(predictions.predicted), torch.from_numpy(predictions.targets)
    if head.multi_label:
        counts = tm.multilabel_confusion_matrix(said, truth, head.num_classes)
    else:
        counts = tm.multiclass_confusion_matrix(said, truth, head.num_classes)
    listed: list[list[list[int]]] | list[list[int]] = counts.tolist()
    return listed


def _against_the_rest(probability: Tensor, said: Tensor, truth: Tensor) -> dict[str, float]:
    support, count = int(truth.sum()), len(truth)

    def value(metric: Callable[..., Tensor], scores: Tensor, defined: bool = True) -> float:
        return float(metric(scores, truth, validate_args=False)) if defined else _NAN

    both = 0 < support < count
    return {
        "support": float(support),
        "f1": value(tm.binary_f1_score, said, support > 0 or bool(said.any())),
        "precision": value(tm.binary_precision, said, bool(said.any())),
        "recall": value(tm.binary_recall, said, support > 0),
        "specificity": value(tm.binary_specificity, said, support < count),
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
        float(tm.binary_calibration_error(column, truth, n_bins=_BINS, validate_args=False))
        for column, truth in zip(probabilities.T.contiguous(), targets.T, strict=True)
    ]
    return sum(errors) / len(errors)


def _mean(values: npt.NDArray[np.float64]) -> float:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else _NAN
