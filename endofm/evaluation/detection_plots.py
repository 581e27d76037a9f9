"""Pictures of a detection report: metrics over the threshold, and the frames with the worst errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from endofm.errors import VideoError
from endofm.evaluation.box_matching import localisation_counts, match_frame
from endofm.evaluation.detection_records import DetectionResults, FrameResult
from endofm.evaluation.frame_presence import f_score, presence_counts, presence_metrics
from endofm.files import atomic_path
from endofm.video.box_drawing import draw_boxes
from endofm.visualize.figures import new_figure, save_figure

_THRESHOLDS = np.linspace(0.02, 0.98, 49)
_TILE_WIDTH, _COLUMNS = 320, 4
_MISSED, _TRUE, _PREDICTED = 3, 2, 0
"""Colour indices of :mod:`endofm.video.box_drawing`."""


def plot_sweep(results: DetectionResults, path: str | Path, *, threshold: float) -> Path:
    """Draw precision, recall and F1 of boxes, and presence F1 of frames, over the threshold.

    Args:
        results: Predicted and true boxes.
        path: Picture to write; the suffix chooses the format.
        threshold: Threshold of the report; marked with a line.

    Raises:
        MissingExtraError: If matplotlib is not installed.
    """
    # One matching serves all thresholds, see localisation_counts.
    matches = [match_frame(frame, "iou") for frame in results.frames]
    rows: dict[str, list[float]] = {"precision": [], "recall": [], "F1 (overlap >= 0.5)": [], "presence F1": []}
    for limit in _THRESHOLDS:
        hit, false, missed = localisation_counts(matches, float(limit))
        precision = hit / (hit + false) if hit + false else 0.0
        recall = hit / (hit + missed) if hit + missed else 0.0
        presence = presence_metrics(presence_counts(results.frames, float(limit)))["presence_f1"]
        values = (precision, recall, f_score(precision, recall), presence)
        for curve, value in zip(rows.values(), values, strict=True):
            curve.append(value)
    figure = new_figure(6.4, 4.4, extra="train", purpose="A score sweep")
    axes: Any = figure.add_subplot()
    for name, curve in rows.items():
        axes.plot(_THRESHOLDS, curve, label=name, linewidth=1.6)
    axes.axvline(threshold, color="grey", linewidth=0.8, linestyle="--")
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="score from which a box counts", title=f"{len(matches)} frames")
    axes.legend(loc="lower left")
    return save_figure(figure, path, dpi=120)


def draw_worst(results: DetectionResults, path: str | Path, *, threshold: float, count: int = 16) -> Path:
    """Draw the frames with missed objects and the highest-scoring false alarms, with true and predicted boxes.

    Args:
        results: Predicted and true boxes.
        path: Picture to write.
        threshold: Score from which a box counts.
        count: Frames to show.
    """
    errors = [(_error(frame, threshold), frame) for frame in results.frames]
    worst = [frame for error, frame in sorted(errors, key=lambda pair: -pair[0])[:count] if error > 0]
    tiles = [tile for tile in (_tile(frame, results.labels, threshold) for frame in worst) if tile is not None]
    height = max((tile.height for tile in tiles), default=40)
    columns = min(_COLUMNS, max(len(tiles), 1))
    rows = max(-(-len(tiles) // columns), 1)
    sheet = Image.new("RGB", (columns * _TILE_WIDTH, rows * height), (16, 16, 16))
    for index, tile in enumerate(tiles):
        sheet.paste(tile, ((index % columns) * _TILE_WIDTH, (index // columns) * height))
    with atomic_path(path) as temporary:
        sheet.save(temporary)
    return Path(path)


def _error(frame: FrameResult, threshold: float) -> float:
    """Return the number of missed objects plus the score of the highest-scoring false alarm, which is below 1."""
    match = match_frame(frame, "iou")
    counted = match.scores >= threshold
    false = match.scores[(match.hits < 0) & counted]
    missed = match.objects - int(((match.hits >= 0) & counted).sum())
    return float(false.max(initial=0.0)) + missed


def _tile(frame: FrameResult, labels: tuple[str, ...], threshold: float) -> Image.Image | None:
    from endofm.data.prepare.frame_folders import read_frame

    try:
        data = read_frame(frame.path)
    except VideoError:
        return None
    counted = frame.scores >= threshold
    match = match_frame(frame, "iou")
    hit = set(match.hits[match.scores >= threshold].tolist())
    captions = [
        f"{labels[label]} {score:.2f}"
        for label, score, shown in zip(frame.labels, frame.scores, counted, strict=True)
        if shown
    ]
    true = [f"{'true' if index in hit else 'missed'} {labels[label]}" for index, label in enumerate(frame.true_labels)]
    boxes = np.concatenate((frame.boxes[counted], frame.true_boxes))
    colours = [_PREDICTED] * len(captions) + [_TRUE if index in hit else _MISSED for index in range(len(true))]
    # Small frames are enlarged before the boxes are drawn, so that captions stay legible.
    scale = _TILE_WIDTH / data.shape[1]
    picture = Image.fromarray(data).resize((_TILE_WIDTH, max(round(data.shape[0] * scale), 1)))
    drawn = draw_boxes(np.asarray(picture), boxes * scale, captions + true, colours, notice=frame.name)
    return Image.fromarray(drawn)
