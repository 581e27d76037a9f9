"""Training targets of a classifier from the labels of a list."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from endofm.data.clip_table import ClipTable
from endofm.errors import InputError

NO_LABEL = "none"
"""Label in a list of a video to which no label applies, where several may hold."""


@dataclass(frozen=True)
class Targets:
    """Class names, and the target that each written label stands for.

    Attributes:
        labels: Names of the classes.
        rows: float32 ``(written labels, classes)``: the target of every written label, 0 or 1.
        multi_label: Whether several labels may hold.
    """

    labels: tuple[str, ...]
    rows: npt.NDArray[np.float32]
    multi_label: bool

    @classmethod
    def of(cls, written: tuple[str, ...], *, multi_label: bool, classes: tuple[str, ...] = ()) -> Targets:
        """Return the targets of labels as they are written.

        Args:
            written: Labels that occur, in order.
            multi_label: Read ``a+b`` as two labels and ``none`` as no label.
            classes: Names of the classes in order; those that occur by default.

        Raises:
            InputError: If there are too few classes, or a label is not one of them.
        """
        if not multi_label:
            if len(written) < 2:
                raise InputError(f"a classifier needs two classes; the lists have {', '.join(written) or 'no labels'}")
            return cls(written, np.eye(len(written), dtype=np.float32), False)
        sets = [set(text.split("+")) - {NO_LABEL} for text in written]
        labels = classes or tuple(sorted(set().union(*sets)))
        unknown = sorted(set().union(*sets) - set(labels))
        if unknown or not labels:
            raise InputError(f"labels {', '.join(unknown) or 'none'} are not among the classes {', '.join(labels)}")
        rows = np.array([[float(label in held) for label in labels] for held in sets], np.float32)
        return cls(labels, rows, True)

    def of_clips(self, table: ClipTable) -> npt.NDArray[np.int64]:
        """Return the targets of clips: class indices, or rows of 0 and 1 if several labels may hold.

        Raises:
            InputError: If a clip has no label, or one that is not among the classes.
        """
        unlabelled = np.flatnonzero(table.label < 0)
        if len(unlabelled):
            raise InputError(
                f"{len(unlabelled)} clips have no label, or one that is not among the classes "
                f"{', '.join(self.labels)}: {table.id[unlabelled[0]]}"
            )
        rows = self.rows[table.label]
        return rows.astype(np.int64) if self.multi_label else rows.argmax(axis=1).astype(np.int64)

    def weights(self, table: ClipTable) -> npt.NDArray[np.float32]:
        """Return balancing weights per class, mean 1 over clips: of the loss, or of the positives if multi-label."""
        frequency = self.rows[table.label].mean(axis=0)
        if self.multi_label:
            # Negatives per positive: both then contribute equally to the binary cross-entropy of a label.
            return np.where(frequency > 0, (1 - frequency) / np.maximum(frequency, 1e-6), 1).astype(np.float32)
        # Sum over classes of frequency x weight is 1, so that the loss keeps its scale.
        present = (frequency > 0).sum()
        return np.where(frequency > 0, 1 / (present * np.maximum(frequency, 1e-6)), 0).astype(np.float32)
