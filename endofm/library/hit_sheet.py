"""Picture of a search: the hits with their thumbnails, and where their scores lie among those of unrelated pairs."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

from endofm.disclaimer import DISCLAIMER
from endofm.errors import InputError
from endofm.library.hits import SearchHit, SearchHits
from endofm.library.thumbnails import thumbnails
from endofm.visualize.figures import new_figure, save_figure

_COLUMNS, _CELL, _LOWEST = 5, 2.1, 2.2
"""Pictures in a row, and heights in inches of a row of them and of the distribution below."""

_MOST = 60


def plot_hits(hits: SearchHits, path: str | Path, *, media: Sequence[str | Path] = ()) -> Path:
    """Draw the hits as a contact sheet, best first, above the distribution of the scores of unrelated pairs.

    Args:
        hits: Hits of a search, at least one; the first 60 are drawn.
        path: Picture to write; the suffix determines the format (``.png``, ``.svg``, ``.pdf``).
        media: Folders that hold the videos under their names, for a library that was moved.

    Returns:
        The path.

    Raises:
        InputError: If there are no hits.
        MissingExtraError: If matplotlib is not installed.
    """
    if not hits:
        raise InputError(f"{path}: there are no hits to draw")
    shown = hits[:_MOST]
    columns = min(_COLUMNS, len(shown))
    rows = -(-len(shown) // columns)
    figure = new_figure(2.1 * _COLUMNS, _CELL * rows + _LOWEST + 0.6, extra="viz", purpose="Drawing hits")
    grid = figure.add_gridspec(rows + 1, columns, height_ratios=[_CELL] * rows + [_LOWEST])
    title = f"{len(shown)} moments like {textwrap.shorten(hits.query, 80, placeholder='...')}"
    figure.suptitle(f"{title}{' (random weights: scores mean nothing)' if hits.untrained else ''}")
    for number, (hit, start, picture) in enumerate(zip(shown, shown.starts(), thumbnails(shown, media), strict=True)):
        axes = figure.add_subplot(grid[number // columns, number % columns])
        axes.set(xticks=[], yticks=[])
        axes.set_title(_caption(number + 1, hit, start), fontsize=7)
        if picture is None:
            axes.text(0.5, 0.5, "video not found", ha="center", va="center", transform=axes.transAxes, fontsize=8)
        else:
            axes.imshow(picture)
    below = figure.add_subplot(grid[rows, :])
    scores = [hit.score for hit in shown]
    if hits.calibration.quantiles:
        edges = hits.calibration.density()
        below.stairs(edges[1], edges[0], fill=True, alpha=0.4, label=f"{hits.calibration.pairs:,} unrelated pairs")
    below.vlines(scores, 0, 1, transform=below.get_xaxis_transform(), color="tab:red", linewidth=0.8, label="hits")
    below.set(xlim=(-1, 1.02), yticks=[], xlabel=f"score: cosine after centring\n{DISCLAIMER}")
    below.legend(loc="upper left", fontsize=8)
    return save_figure(figure, path, dpi=110)


def _caption(number: int, hit: SearchHit, start: str) -> str:
    name = hit.recording.name
    name = name if len(name) <= 24 else f"...{name[-21:]}"
    share = "" if hit.above_unrelated is None else f", above {int(hit.above_unrelated * 10000) / 100:g} %"
    label = f"\n{hit.label[:28]}" if hit.label else ""
    return f"{number}. {name} {start}\n{hit.score:.2f}{share}{label}"
