"""Timeline of a video: thumbnails, self-similarity of its clips, and a novelty curve."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from endofm.errors import InputError
from endofm.tasks.features.results import VideoFeatures, clock
from endofm.video.frames import VideoSource
from endofm.visualize.figures import new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WIDTH, _STRIP = 9.0, 1.1
"""Width of the picture and height of its row of thumbnails, inches."""

_LARGEST_MATRIX = 1200


def novelty_curve(similarity: npt.NDArray[np.floating], half_width: int = 4) -> npt.NDArray[np.float64]:
    """Return the novelty of each clip: high where the video changes.

    A checkerboard kernel with a Gaussian taper slides along the diagonal of the self-similarity matrix: high where the
    clips before resemble each other, the clips after resemble each other, and the two groups differ (Foote,
    "Automatic audio segmentation using a measure of audio novelty", ICME 2000).

    Args:
        similarity: Cosine similarities, ``(num_clips, num_clips)``.
        half_width: Number of clips on either side that are compared.

    Returns:
        float64 ``(num_clips,)``, >= 0; the value of clip ``i`` belongs to the border between ``i - 1`` and ``i``.
    """
    count = len(similarity)
    offsets = np.arange(-half_width, half_width) + 0.5
    taper = np.exp(-0.5 * (offsets / (half_width / 2)) ** 2)
    kernel = np.outer(np.sign(offsets) * taper, np.sign(offsets) * taper)
    padded = np.pad(np.asarray(similarity, np.float64), half_width, mode="edge") if count else np.zeros((0, 0))
    curve = np.zeros(count)
    for i in range(count):
        part = padded[i : i + 2 * half_width, i : i + 2 * half_width]
        curve[i] = (kernel * part).sum() / np.abs(kernel).sum()
    return np.maximum(curve, 0)


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
    edges = np.append(starts, ends[-1])
    # The colours start at a low quantile: a single black frame would otherwise use up the range.
    low = float(np.quantile(similarity, 0.02))
    mesh = axes[0].pcolormesh(edges, edges, similarity, cmap="magma", vmin=min(low, 0.999), vmax=1, rasterized=True)
    axes[0].set(ylabel="time", title="cosine similarity of all pairs of clips")
    axes[0].invert_yaxis()
    figure.colorbar(mesh, ax=axes, shrink=0.5)
    axes[1].stairs(novelty_curve(similarity), edges, fill=True, alpha=0.5)
    axes[1].set(xlim=(first, last), ylim=(0, None), xlabel="time", ylabel="novelty", yticks=[])
    for axis in (axes[0].xaxis, axes[0].yaxis, axes[1].xaxis):
        axis.set_major_formatter(lambda seconds, _: clock(seconds) if seconds >= 0 else "")
    return save_figure(figure, path, dpi=110)


def _draw_thumbnails(axes: Axes, source: VideoSource, first: float, last: float) -> None:
    """Draw frames spread over the video, each at its time."""
    aspect = source.metadata.width / source.metadata.height
    # As many thumbnails as fit without being stretched; the colour bar takes the remaining width.
    count = max(round(0.85 * _WIDTH / (_STRIP * aspect)), 1)
    width = (last - first) / count
    times = first + width * (np.arange(count) + 0.5)
    for time, frame in zip(times, source.sample(times.tolist()), strict=False):
        small = frame.data[:: max(frame.data.shape[0] // 160, 1), :: max(frame.data.shape[1] // 160, 1)]
        axes.imshow(small, extent=(time - width / 2, time + width / 2, 0, 1), aspect="auto")
    axes.set(xlim=(first, last), ylim=(0, 1), xticks=[], yticks=[])
