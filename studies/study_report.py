"""Reports of studies: means over seeds, tables, plots, and pages of the documentation."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from endofm.errors import InputError
from endofm.files import atomic_path
from studies.study import Study

BEGIN, END = "<!-- study: begin ({command}) -->", "<!-- study: end -->"
"""Marks of the part of a page that is filled from a summary."""


def over_seeds(values: Sequence[float | None]) -> dict[str, Any]:
    """Return mean, standard deviation and values over seeds; undefined values (None) are left out."""
    defined = [float(value) for value in values if value is not None]
    mean = float(np.mean(defined)) if defined else None
    deviation = float(np.std(defined, ddof=1)) if len(defined) > 1 else None
    return {"mean": mean, "sd": deviation, "values": defined}


def plus_minus(values: Mapping[str, Any] | None, scale: float = 100, *, sign: bool = False, digits: int = 1) -> str:
    """Return ``mean ± deviation`` of what :func:`over_seeds` returned, scaled; ``-`` if it is undefined."""
    if values is None or values["mean"] is None:
        return "-"
    mean = f"{scale * values['mean']:{'+' if sign else ''}.{digits}f}"
    return mean if values["sd"] is None else f"{mean} ± {scale * values['sd']:.{digits}f}"


def markdown_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table whose first column is left-aligned and whose others are right-aligned."""
    lines = ["| " + " | ".join(heads) + " |", "|---|" + "---:|" * (len(heads) - 1)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Series:
    """Points of one kind in a panel.

    Attributes:
        values: What :func:`over_seeds` returned, by arm.
        colours: Colour by arm, or one for all.
        label: Entry of the legend, empty for none.
    """

    values: Mapping[str, Mapping[str, Any]]
    colours: Mapping[str, str] | str = "C0"
    label: str = ""


def plot_arms(path: Path, panels: Mapping[str, Sequence[Series]], *, scale: float = 100) -> None:
    """Draw arms as rows: a point per seed, a line at the mean.

    Args:
        path: PNG file to create or replace.
        panels: Series of each panel, by its title.
        scale: Factor of the values.
    """
    from matplotlib.figure import Figure

    arms = list(next(iter(panels.values()))[0].values)
    series_per_arm = max(len(series) for series in panels.values())
    figure = Figure(
        figsize=(2 + 3.5 * len(panels), (0.4 + 0.1 * series_per_arm) * len(arms) + 1.6), layout="constrained"
    )
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axis, (title, several) in zip(axes, panels.items(), strict=True):
        for number, series in enumerate(several):
            shift = 0.3 * (number - (len(several) - 1) / 2)
            for row, arm in enumerate(arms):
                values, y = series.values[arm], row + shift
                colour = series.colours if isinstance(series.colours, str) else series.colours[arm]
                label = series.label if row == 0 and series.label else None
                points = np.multiply(values["values"], scale)
                axis.plot(points, [y] * len(points), "o", color=colour, alpha=0.6, label=label)
                if values["mean"] is not None:
                    half = 0.3 / len(several)
                    axis.plot([scale * values["mean"]] * 2, [y - half, y + half], color=colour, lw=2.5)
        axis.set_title(title, fontsize=10)
        axis.grid(axis="x", alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_yticks(range(len(arms)), arms)
    axes[0].invert_yaxis()
    if any(series.label for series in next(iter(panels.values()))):
        axes[0].legend(loc="lower right", fontsize=8)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=150)


def save(study: type[Study], summary: Mapping[str, Any], folder: Path, name: str) -> list[Path]:
    """Write JSON, table and plot of a summary; return their paths."""
    paths = [folder / f"{name}{suffix}" for suffix in (".json", ".md", ".png")]
    for path, text in zip(paths, (json.dumps(summary, indent=1) + "\n", study.table(summary)), strict=False):
        with atomic_path(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    study.plot(summary, paths[2])
    return paths


def fill_page(page: Path, study: type[Study], summary: Mapping[str, Any], *, command: str) -> None:
    """Put conditions, table and plot of a summary between the marks of a page.

    Args:
        page: Page of the documentation; the plot goes to ``images/`` next to it.
        study: The study.
        summary: Content of a summary's JSON file.
        command: The command that fills the page, for the mark.

    Raises:
        InputError: If the page has no marks.
    """
    if not page.exists():
        raise InputError(f"{page}: this study has no page in the documentation")
    text = page.read_text(encoding="utf-8")
    start, stop = text.find(BEGIN.split("(")[0]), text.find(END)
    if start < 0 or stop < start:
        raise InputError(f"{page}: there is no part between '{BEGIN}' and '{END}' to fill")
    plot = Path("images") / f"{page.stem.replace('_', '-')}.png"
    study.plot(summary, page.parent / plot)
    made = (
        f"Made by `{summary['command']}` with version {summary['version']}, torch {summary['torch']}, "
        f"{len(summary['config']['seeds'])} seeds; mean ± standard deviation over them, in percent."
    )
    parts = [f"{made} {study.facts(summary)}", study.table(summary), f"![All arms]({plot.as_posix()})"]
    middle = "\n".join(f"{part.rstrip()}\n" for part in [*parts, *study.appendix(summary)])
    with atomic_path(page) as temporary:
        temporary.write_text(f"{text[:start]}{BEGIN.format(command=command)}\n{middle}{text[stop:]}", encoding="utf-8")
