"""A picture of a run: every metric and schedule over its steps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from endofm.errors import require_extra
from endofm.files import atomic_path
from endofm.training.engine.loggers import Row

_COLUMNS = 4
_HIDDEN = ("kind", "step", "epoch")


def draw_run(path: Path, history: Sequence[Row], title: str) -> None:
    """Draw the rows of the log, one panel per metric: training in blue, validation in orange.

    Args:
        path: PNG file to create or replace.
        history: Rows of the log.
        title: Text above the panels.

    Raises:
        MissingExtraError: If matplotlib is not installed.
    """
    require_extra("matplotlib", "train", "A picture of the run")
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(name for row in history for name in row if name not in _HIDDEN))
    names.sort(key=lambda name: name != "loss")  # The loss first, the rest in the order of the log.
    if not names:
        return
    rows = -(-len(names) // _COLUMNS)
    figure = Figure(figsize=(3.2 * _COLUMNS, 2.3 * rows + 0.4), layout="constrained")
    figure.suptitle(title)
    panels = figure.subplots(rows, _COLUMNS, squeeze=False).flatten()
    for panel, name in zip(panels, names, strict=False):
        for kind, colour in (("train", "tab:blue"), ("validation", "tab:orange")):
            points = [(row["step"], row[name]) for row in history if row["kind"] == kind and name in row]
            if points:
                steps, values = zip(*points, strict=True)
                panel.plot(steps, values, color=colour, marker="." if len(points) < 20 else "", linewidth=1)
        panel.set_title(name.replace("_", " "), fontsize=9)
        panel.tick_params(labelsize=7)
    for panel in panels[len(names) :]:
        panel.set_axis_off()
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=90)
