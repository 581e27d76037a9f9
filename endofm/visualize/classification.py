"""A video's class probabilities over time."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from endofm.errors import require_extra
from endofm.files import atomic_path
from endofm.tasks.classification.results import VideoClassification
from endofm.tasks.features.results import clock


def plot_classification(result: VideoClassification, path: str | Path) -> Path:
    """Draw one curve per class over the video; of two exclusive classes the second alone.

    Args:
        result: What a classifier says of the video.
        path: Picture to write; the suffix chooses the format (``.png``, ``.svg``, ``.pdf``).

    Returns:
        The path.

    Raises:
        MissingExtraError: If matplotlib is not installed.
    """
    require_extra("matplotlib", "viz", "Drawing class probabilities")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    path = Path(path)
    figure = Figure(figsize=(9, 2.8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    head = result.head
    shown = head.labels[1:] if head.num_classes == 2 and not head.multi_label else head.labels
    overlapping = bool((result.start_seconds[1:] < result.end_seconds[:-1]).any())
    for label in shown:
        values = result.probabilities[:, head.labels.index(label)]
        if overlapping:
            axes.plot((result.start_seconds + result.end_seconds) / 2, values, label=label)
        else:
            axes.stairs(values, np.append(result.start_seconds, result.end_seconds[-1]), label=label, baseline=None)
        if head.thresholds:
            axes.axhline(head.thresholds[head.labels.index(label)], color="grey", linewidth=0.8, linestyle="--")
    name = Path(result.provenance.get("video", {}).get("name", "")).name
    title = (
        f"{name}: {' + '.join(result.predicted_labels) or 'no label'}" if name else " + ".join(result.predicted_labels)
    )
    if result.untrained:
        title += " (random weights: this picture means nothing)"
    axes.set(xlim=(result.start_seconds[0], result.end_seconds[-1]), ylim=(-0.02, 1.02), xlabel="time", title=title)
    axes.set_ylabel("probability")
    axes.xaxis.set_major_formatter(lambda seconds, _: clock(seconds) if seconds >= 0 else "")
    axes.legend(loc="upper right")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110)
    return path
