"""Area under the ROC curve from scores of any scale, fast enough for thousands of bootstrap resamples."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def auroc(scores: npt.ArrayLike, positive: npt.ArrayLike) -> float:
    """Return the probability that a positive item scores higher than a negative one; a tie counts one half.

    Args:
        scores: ``(items,)``.
        positive: Boolean ``(items,)``.

    Returns:
        In [0, 1]; NaN if all items or none are positive.
    """
    values, hits = np.asarray(scores), np.asarray(positive, bool)
    count, total = int(hits.sum()), len(hits)
    if count in (0, total):
        return float("nan")
    _, place, sizes = np.unique(values, return_inverse=True, return_counts=True)
    # Equal scores share the mean of their ranks (Mann and Whitney's statistic).
    ranks = (np.cumsum(sizes) - (sizes - 1) / 2)[place]
    return float((ranks[hits].sum() - count * (count + 1) / 2) / (count * (total - count)))


def macro_auroc(scores: npt.NDArray[np.floating], labels: npt.NDArray[np.int64]) -> float:
    """Return the mean over classes of each against the rest; with two classes, of the second one.

    Args:
        scores: ``(items, classes)``.
        labels: ``(items,)``.

    Returns:
        In [0, 1]; classes that do not occur are left out, NaN if none is left.
    """
    if scores.shape[1] == 2:
        return auroc(scores[:, 1] - scores[:, 0], labels == 1)
    values = np.array([auroc(scores[:, index], labels == index) for index in range(scores.shape[1])])
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else float("nan")
