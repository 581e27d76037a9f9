"""Predicted probabilities beside the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from endofm.errors import InputError
from endofm.tasks.classification.config import ClassificationHeadConfig
from endofm.tasks.decision import decide

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False, kw_only=True)
class Predictions:
    """What a classifier says of labelled clips or videos.

    Attributes:
        probabilities: float64 ``(num_items, num_classes)``, in [0, 1].
        targets: int64; ``(num_items,)`` class numbers, or ``(num_items, num_classes)`` of 0 and 1 if several labels
            may hold at once.
        groups: What may not be torn apart when uncertainty is estimated: patient, else video, of every item.
        head: Labels, thresholds, and whether several labels may hold.
        ids: Names of the items, for lists of errors; numbers by default.
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
        if not ((probabilities >= 0) & (probabilities <= 1 + 1e-6)).all():  # also false for what is not a number
            raise InputError("probabilities must be numbers in [0, 1]")
        shape, limit = ((count, classes), 2) if self.head.multi_label else ((count,), classes)
        if targets.shape != shape or targets.min() < 0 or targets.max() >= limit:
            raise InputError(
                f"targets must be whole numbers in 0..{limit - 1} of shape {shape}, got shape {targets.shape} with "
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

    def take(self, places: npt.ArrayLike) -> Predictions:
        """Return the items at some places, in the given order; an item may occur several times."""
        chosen = np.asarray(places, np.int64)
        return replace(
            self,
            probabilities=self.probabilities[chosen],
            targets=self.targets[chosen],
            groups=[self.groups[place] for place in chosen],
            ids=[self.ids[place] for place in chosen],
        )

    def averaged(self, items: Sequence[str]) -> Predictions:
        """Return one prediction per item: the mean over its rows, e.g. over the views of a video.

        Args:
            items: Name of the item of every row.

        Raises:
            InputError: If rows of one item have different targets or groups.
        """
        places: dict[str, list[int]] = {}
        for place, item in enumerate(items):
            places.setdefault(item, []).append(place)
        for item, rows in places.items():
            same = (self.targets[rows] == self.targets[rows[0]]).all()
            if not same or len({self.groups[row] for row in rows}) > 1:
                raise InputError(f"the rows of {item} have different labels or groups, and cannot be one item")
        first = [rows[0] for rows in places.values()]
        means = np.stack([self.probabilities[rows].mean(axis=0) for rows in places.values()])
        return replace(self.take(first), probabilities=means, ids=list(places))

    @property
    def predicted(self) -> Int64Array:
        """What is predicted, in the form of ``targets``."""
        return decide(self.probabilities, self.head)
