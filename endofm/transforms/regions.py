"""Small operations on boolean masks ``(height, width)``: opening, closing, connected regions."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]


def _count(mask: Mask, size: int) -> npt.NDArray[np.int64]:
    """Count the true cells in the ``size x size`` square around every cell; border cells are repeated outwards."""
    # Integral image: the sum over a rectangle is the combination of its four corners.
    reach = size // 2
    sums = np.pad(np.pad(mask, reach, mode="edge").astype(np.int64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    return np.asarray(sums[size:, size:] - sums[:-size, size:] - sums[size:, :-size] + sums[:-size, :-size])


def erode(mask: Mask, size: int) -> Mask:
    """Keep the cells whose ``size x size`` square (odd size) is entirely true."""
    return np.asarray(_count(mask, size) == size * size)


def dilate(mask: Mask, size: int) -> Mask:
    """Add every cell that has a true one in its ``size x size`` square (odd size)."""
    return np.asarray(_count(mask, size) > 0)


def opening(mask: Mask, size: int) -> Mask:
    """Remove everything narrower than ``size`` cells in either direction, such as letters and lines."""
    return dilate(erode(mask, size), size)


def closing(mask: Mask, size: int) -> Mask:
    """Fill holes and gaps narrower than ``size`` cells."""
    return erode(dilate(mask, size), size)


def label_regions(mask: Mask) -> npt.NDArray[np.int64]:
    """Number the connected regions (4 neighbours); 0 where the mask is false, numbers in no particular order."""
    labels = np.where(mask, np.arange(1, mask.size + 1).reshape(mask.shape), 0)
    while True:
        # Every cell takes the largest number next to it, until each region has a single number, its largest.
        grown = labels.copy()
        np.maximum(grown[1:], labels[:-1], out=grown[1:])
        np.maximum(grown[:-1], labels[1:], out=grown[:-1])
        np.maximum(grown[:, 1:], labels[:, :-1], out=grown[:, 1:])
        np.maximum(grown[:, :-1], labels[:, 1:], out=grown[:, :-1])
        grown[~mask] = 0
        if np.array_equal(grown, labels):
            return labels
        labels = grown


def heaviest_region(mask: Mask, weight: npt.NDArray[np.float64]) -> Mask:
    """Return the connected region of ``mask`` with the largest sum of ``weight``; all false if there is none."""
    labels = label_regions(mask)
    sums = np.bincount(labels.ravel(), weights=weight.ravel(), minlength=1)
    # Label 0 is the background.
    sums[0] = -1
    best = int(sums.argmax())
    return np.asarray((labels == best) & mask)
