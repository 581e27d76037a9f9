"""Classification report: metrics with confidence intervals, per class and confusion matrix, with ROC curves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from endofm.evaluation.bootstrap import BootstrapSettings, plain
from endofm.evaluation.classification_metrics import classification_metrics, confusion_matrix, per_class_metrics
from endofm.evaluation.predictions import Predictions
from endofm.evaluation.report import Report, score


@dataclass(frozen=True, eq=False, kw_only=True)
class ClassificationReport(Report):
    """Scores of a classifier on labelled items.

    Attributes:
        predictions: The predictions that were scored.
    """

    predictions: Predictions
    task: ClassVar[str] = "classification"

    @classmethod
    def of(
        cls,
        predictions: Predictions,
        *,
        settings: Mapping[str, Any] | None = None,
        notes: Sequence[str] = (),
        bootstrap: BootstrapSettings | None = None,
    ) -> ClassificationReport:
        """Compute metrics and intervals.

        Args:
            predictions: One row per item that counts once (one per video for metrics per video).
            settings: How the predictions were made, plain values.
            notes: What a reader has to know.
            bootstrap: Settings of the intervals.
        """
        shared = score(
            lambda indices: classification_metrics(predictions.select(indices)),
            predictions.groups,
            settings=settings,
            notes=notes,
            bootstrap_settings=bootstrap,
        )
        return cls(predictions=predictions, **shared)

    def heading(self) -> str:
        """Return what was scored, as one line."""
        return f"{len(self.predictions)} items of {len(set(self.predictions.groups))} patients or videos"

    def details(self) -> dict[str, Any]:
        """Return labels, counts, metrics per class and the confusion matrix."""
        predictions = self.predictions
        per_class = {
            label: {name: plain(value) for name, value in row.items()}
            for label, row in per_class_metrics(predictions).items()
        }
        return {
            "labels": list(predictions.head.labels),
            "multi_label": predictions.head.multi_label,
            "items": len(predictions),
            "groups": len(set(predictions.groups)),
            "per_class": per_class,
            "confusion_matrix": confusion_matrix(predictions),
        }

    def tables(self) -> Mapping[str, Iterable[Sequence[object]]]:
        """Return ``predictions.csv``: target, prediction and probabilities of every item."""
        predictions, labels = self.predictions, self.predictions.head.labels
        rows: list[list[object]] = [["id", "group", "target", "predicted", *(f"p({label})" for label in labels)]]
        predicted = predictions.predicted
        for index, (item, group) in enumerate(zip(predictions.ids, predictions.groups, strict=True)):
            named = [_label_names(values[index], labels) for values in (predictions.targets, predicted)]
            rows.append([item, group, *named, *(f"{value:.6f}" for value in predictions.probabilities[index])])
        return {"predictions.csv": rows}

    def draw(self, folder: Path) -> None:
        """Draw ``roc.png`` and ``confusion.png``."""
        from endofm.evaluation.classification_plots import plot_confusion, plot_roc

        plot_roc(self.predictions, folder / "roc.png")
        plot_confusion(self.predictions, folder / "confusion.png")


def _label_names(value: Any, labels: Sequence[str]) -> str:
    """Return the label of a class index, or the labels that hold joined by ``+``, as lists write them."""
    if np.ndim(value) == 0:
        return labels[int(value)]
    return "+".join(label for label, holds in zip(labels, value, strict=True) if holds)
