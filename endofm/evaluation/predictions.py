"""Predicted probabilities of labelled items, with their targets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from endofm.errors import InputError
from endofm.tasks.classification.config import ClassificationHeadConfig
from endofm.tasks.classification.results import decide

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False, kw_only=True)
class Predictions:
    """Predictions of a classifier for labelled clips or videos.

    Attributes:
        probabilities: float64 ``(num_items, num_classes)``, in [0, 1].
        targets: int64; ``(num_items,)`` class indices, or ``(num_items, num_classes)`` of 0 and 1 if several labels
            may hold at once.
        groups: Patient, else video, of every item: the unit that the bootstrap resamples.
        head: Labels, thresholds, and whether several labels may hold.
        ids: Names of the items, for lists of errors; their numbers by default.
    """

    probabilities: Float64Array
    targets: Int64Array
    groups: Sequence[str]
    head: ClassificationHeadConfig
    ids: Sequence[str] = ()

    def __post_init__(self) -> None:
        probabilities = np.asarray(self.probabilities, np.float64)
        targets = np.asarray(self.targets, np.int64)
        count, classes = len(targets), self.head.num_classes
        if probabilities.shape != (count, classes) or not count:
            raise InputError(
                f"expected probabilities ({count}, {classes}) for {count} targets and the labels "
                f"{', '.join(self.head.labels)}, got {probabilities.shape}"
            )
        # Softmax in float32 may exceed 1 by rounding. NaN fails both comparisons, so it is refused here as well.
        if not ((probabilities >= 0) & (probabilities <= 1 + 1e-6)).all():
            raise InputError("probabilities must be numbers in [0, 1]")
        shape, limit = ((count, classes), 2) if self.head.multi_label else ((count,), classes)
        if targets.shape != shape or targets.min() < 0 or targets.max() >= limit:
            raise InputError(
                f"targets must be integers in 0..{limit - 1} of shape {shape}, got shape {targets.shape} with "
                f"values from {targets.min()} to {targets.max()}"
            )
        if len(self.groups) != count or len(self.ids) not in (0, count):
            raise InputError(f"{count} items need as many groups and ids, got {len(self.groups)} and {len(self.ids)}")
        object.__setattr__(self, "probabilities", probabilities)
        object.__setattr__(self, "targets", targets)
        object.__setattr__(self, "groups", tuple(self.groups))
        object.__setattr__(self, "ids", tuple(self.ids) or tuple(map(str, range(count))))

    def __len__(self) -> int:
        return len(self.targets)

    def select(self, indices: npt.ArrayLike) -> Predictions:
        """Return the items at some indices, in the given order; an item may be selected several times."""
        selected = np.asarray(indices, np.int64)
        return replace(
            self,
            probabilities=self.probabilities[selected],
            targets=self.targets[selected],
            groups=[self.groups[index] for index in selected],
            ids=[self.ids[index] for index in selected],
        )

    def averaged(self, items: Sequence[str]) -> Predictions:
        """Return one prediction per item: the mean over its rows, e.g. over the views of a video.

        Args:
            items: Name of the item of every row.

        Raises:
            InputError: If rows of one item have different targets or groups.
        """
        rows_of: dict[str, list[int]] = {}
        for index, item in enumerate(items):
            rows_of.setdefault(item, []).append(index)
        for item, rows in rows_of.items():
            same = (self.targets[rows] == self.targets[rows[0]]).all()
            if not same or len({self.groups[row] for row in rows}) > 1:
                raise InputError(f"the rows of {item} have different labels or groups, and cannot be one item")
        first = [rows[0] for rows in rows_of.values()]
        means = np.stack([self.probabilities[rows].mean(axis=0) for rows in rows_of.values()])
        return replace(self.select(first), probabilities=means, ids=list(rows_of))

    @property
    def predicted(self) -> Int64Array:
        """Predicted classes, in the form of ``targets``."""
        return decide(self.probabilities, self.head)
