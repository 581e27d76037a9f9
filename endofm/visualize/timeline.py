"""Timeline of a video: thumbnails, self-similarity of its clips, and a novelty curve."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from endofm.errors import InputError
from endofm.tasks.features.moments import clip_borders, novelty_curve, novelty_peaks
from endofm.tasks.features.results import VideoFeatures, clock
from endofm.video.frames import Float64Array, VideoSource
from endofm.visualize.figures import new_figure, save_figure, show_clock

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WIDTH, _STRIP = 9.0, 1.3
"""Width of the picture and height of its rows of thumbnails, inches."""

_ROWS, _THUMBNAIL_PIXELS = 2, 160
_LARGEST_MATRIX = 1200
_MOST_PEAKS = 12


def plot_timeline(features: VideoFeatures, path: str | Path, *, source: VideoSource | None = None) -> Path:
    """Draw a video's timeline to a picture.

    Args:
        features: Features of the video, at least one clip.
        path: Picture to write; the suffix determines the format (``.png``, ``.svg``, ``.pdf``).
        source: The open video, for thumbnails along the axis; without it there are none.

    Returns:
        The path.

    Raises:
        InputError: If there are no clips.
        MissingExtraError: If matplotlib is not installed.
    """
    path = Path(path)
    if not len(features):
        raise InputError(f"{path}: there are no clips to draw a timeline of")
    height = 10.6 if source is not None else 9.4
    figure = new_figure(_WIDTH, height, extra="viz", purpose="Drawing a timeline")
    # Hours of dense windows have more clips than the picture has pixels.
    step = -(-len(features) // _LARGEST_MATRIX)
    starts, ends = features.start_seconds[::step], features.end_seconds[::step]
    unit = features.normalized().embeddings[::step]
    similarity = unit @ unit.T
    heights = [_STRIP, 7, 1.4] if source is not None else [7, 1.4]
    axes = list(figure.subplots(len(heights), 1, gridspec_kw={"height_ratios": heights}))
    first, last = float(starts[0]), float(features.end_seconds[-1])
    name = features.provenance.get("video", {}).get("name", "")
    title = f"{name}: {len(features)} clips"
    if features.untrained:
        title += " (random weights: this picture means nothing)"
    figure.suptitle(title)
    if source is not None:
        _draw_thumbnails(axes.pop(0), source, first, last)
    edges = clip_borders(starts, ends)
    # The colours start at a low quantile: a single black frame would otherwise use up the range.
    low = float(np.quantile(similarity, 0.02))
    mesh = axes[0].pcolormesh(edges, edges, similarity, cmap="magma", vmin=min(low, 0.999), vmax=1, rasterized=True)
    axes[0].set(ylabel="time", title="cosine similarity of all pairs of clips")
    axes[0].invert_yaxis()
    figure.colorbar(mesh, ax=axes, shrink=0.5)
    _draw_novelty(axes[1], starts, ends, unit)
    axes[1].set(xlim=(first, last), xlabel="time", ylabel="novelty")
    for axis in (axes[0].xaxis, axes[0].yaxis, axes[1].xaxis):
        show_clock(axis)
    return save_figure(figure, path, dpi=110)


def _draw_novelty(axes: Axes, starts: Float64Array, ends: Float64Array, unit: npt.NDArray[np.float32]) -> None:
    """Draw the novelty curve on a scale of its own, and mark its peaks with their times."""
    curve = novelty_curve(unit)
    axes.fill_between(clip_borders(starts, ends)[:-1], curve, alpha=0.5)
    peaks = novelty_peaks(curve, starts, ends, n=_MOST_PEAKS)
    axes.plot([peak.seconds for peak in peaks], [peak.novelty for peak in peaks], "v", color="tab:red", markersize=5)
    for peak in peaks:
        axes.annotate(
            clock(peak.seconds),
            (peak.seconds, peak.novelty),
            xytext=(0, 5),
            textcoords="offset points",
            ha="center",
            fontsize="x-small",
        )
    # Room for the times above the highest peak.
    axes.set(ylim=(0, 1.35 * max(float(curve.max()), 1e-3)))


def _draw_thumbnails(axes: Axes, source: VideoSource, first: float, last: float) -> None:
    """Draw frames spread over the video: a column at its time, its first half above the second."""
    aspect = source.metadata.width / source.metadata.height
    # As many thumbnails as fit without being stretched; the colour bar takes the remaining width.
    columns = max(round(0.85 * _WIDTH / (_STRIP / _ROWS * aspect)), 1)
    count = _ROWS * columns
    width = (last - first) / columns
    times = first + (last - first) / count * (np.arange(count) + 0.5)
    for index, frame in enumerate(source.sample(times.tolist())):
        steps = (max(side // _THUMBNAIL_PIXELS, 1) for side in frame.data.shape[:2])
        small = frame.data[tuple(slice(None, None, step) for step in steps)]
        left, top = first + index // _ROWS * width, _ROWS - index % _ROWS
        axes.imshow(small, extent=(left, left + width, top - 1, top), aspect="auto")
    axes.set(xlim=(first, last), ylim=(0, _ROWS), xticks=[], yticks=[])
