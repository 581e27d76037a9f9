"""A video's class probabilities over time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from endofm.tasks.classification.results import VideoClassification
from endofm.visualize.figures import add_legend, new_figure, save_figure, show_clock


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
    figure = new_figure(9, 2.8, extra="viz", purpose="Drawing class probabilities")
    axes = figure.subplots()
    head = result.head
    shown = head.labels[1:] if head.num_classes == 2 and not head.multi_label else head.labels
    overlapping = bool((result.start_seconds[1:] < result.end_seconds[:-1]).any())
    curves: dict[str, Any] = {}
    for label in shown:
        values = result.probabilities[:, head.labels.index(label)]
        if overlapping:
            (curves[label],) = axes.plot((result.start_seconds + result.end_seconds) / 2, values)
        else:
            edges = np.append(result.start_seconds, result.end_seconds[-1])
            curves[label] = axes.stairs(values, edges, baseline=None)
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
    show_clock(axes.xaxis)
    add_legend(axes, curves, loc="upper right")
    return save_figure(figure, path, dpi=110)
