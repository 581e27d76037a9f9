"""The figure of a comparison: one panel per set, encoders from top to bottom, scores with their intervals."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from endofm.bench.comparison import BenchResult
from endofm.bench.frozen import CONTROLS, UNTRAINED
from endofm.visualize.figures import new_figure, save_figure

_COLOURS = {
    "k-NN": "#0072b2",
    "linear": "#d55e00",
    "attentive": "#009e73",
    "few-shot": "#cc79a7",
    "nearest": "#0072b2",
    "AUROC": "#d55e00",
}
_MARKERS = {"k-NN": "o", "linear": "s", "attentive": "D", "few-shot": "^", "nearest": "o", "AUROC": "s"}
_COLUMNS = 2


def draw(result: BenchResult, path: Path) -> Path:
    """Write the figure.

    Args:
        result: The comparison.
        path: PNG file.

    Raises:
        MissingExtraError: If matplotlib is not installed.
    """
    count = len(result.sets)
    columns = min(_COLUMNS, count)
    rows = -(-count // columns)
    height = rows * (1.1 + 0.36 * len(result.specs)) + 0.2
    figure = new_figure(5.6 * columns, height, extra="train", purpose="Drawing a comparison")
    axes = np.atleast_1d(figure.subplots(rows, columns, squeeze=False)).ravel()
    for axis in axes[count:]:
        axis.set_visible(False)
    places = np.arange(len(result.specs))[::-1]
    for number, (axis, (name, scored)) in enumerate(zip(axes, result.sets.items(), strict=False)):
        shift = np.linspace(0.24, -0.24, len(scored.score_names)) if len(scored.score_names) > 1 else [0.0]
        for offset, score in zip(shift, scored.score_names, strict=True):
            for place, spec in zip(places, result.specs, strict=True):
                interval = scored.interval(spec, score)
                if interval is None:
                    continue
                if interval.low == interval.low:
                    axis.plot([interval.low, interval.high], [place + offset] * 2, color=_COLOURS[score], alpha=0.5)
                # A hollow mark: pictures of this set were among the training data.
                seen = scored.overlaps[spec].kind == "seen"
                face = "white" if seen else _COLOURS[score]
                axis.plot(
                    interval.value, place + offset, _MARKERS[score], color=_COLOURS[score], markersize=5, mfc=face
                )
            axis.plot([], [], _MARKERS[score], color=_COLOURS[score], markersize=5, label=score)
        for place, spec in zip(places, result.specs, strict=True):
            if spec in CONTROLS or spec.startswith(UNTRAINED):
                axis.axhspan(place - 0.5, place + 0.5, color="0.95", zorder=0)
        names = [_short(spec) for spec in result.specs] if number % columns == 0 else [""] * len(places)
        axis.set_yticks(places, names)
        axis.set_ylim(-0.6, len(places) - 0.4)
        axis.set_title(name, fontsize=10, loc="left")
        axis.grid(axis="x", alpha=0.3)
        axis.tick_params(labelsize=8)
        axis.legend(fontsize=7, loc="lower right", ncols=4, frameon=False, bbox_to_anchor=(1.0, 1.0), borderpad=0)
    figure.supxlabel("score with its 95 % interval; hollow: pictures of the set were seen in training", fontsize=8)
    return save_figure(figure, path, dpi=150)


def _short(spec: str) -> str:
    return spec if len(spec) <= 34 else f"...{spec[-31:]}"
