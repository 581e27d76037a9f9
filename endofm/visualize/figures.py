"""Figures of matplotlib: without a window, and with every text drawn as it is written.

matplotlib takes text between two dollar signs for a formula, and warns about every character that a font lacks. Names
of files and labels come from anywhere, so all pictures of the package are made and saved here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from endofm.errors import require_extra
from endofm.files import atomic_path
from endofm.tasks.features.results import clock

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure
    from matplotlib.font_manager import FontProperties
    from matplotlib.text import Text

_CLOCK_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800)
"""Seconds between labels of an axis of time."""

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def new_figure(width: float, height: float, *, extra: str, purpose: str) -> Figure:
    """Return an empty figure that belongs to no window.

    Args:
        width: Width in inches.
        height: Height in inches.
        extra: Extra of this package that installs matplotlib.
        purpose: For the message if it is missing; see :func:`~endofm.errors.require_extra`.

    Raises:
        MissingExtraError: If matplotlib is not installed.
    """
    require_extra("matplotlib", extra, purpose)
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def show_clock(axis: Axis) -> None:
    """Label an axis of seconds with times on a clock, at round ones; call this when its limits are set."""
    from matplotlib.ticker import MultipleLocator

    low, high = sorted(axis.get_view_interval())
    axis.set_major_locator(MultipleLocator(clock_step(high - low, 10)))
    axis.set_major_formatter(lambda seconds, _: clock(seconds) if seconds >= 0 else "")


def clock_step(span: float, most: int) -> int:
    """Return the seconds between round times on an axis.

    Args:
        span: Length of the axis in seconds.
        most: Largest number of steps.
    """
    return next((step for step in _CLOCK_STEPS if span / step <= most), math.ceil(span / most / 3600) * 3600)


def add_legend(axes: Axes, entries: Mapping[str, Artist], *, loc: Literal["upper right", "lower right"]) -> None:
    """Add a legend with any names; matplotlib itself leaves out those that begin with an underscore."""
    legend = axes.legend(list(entries.values()), ["name"] * len(entries), loc=loc)
    for text, name in zip(legend.get_texts(), entries, strict=True):
        text.set_text(name)


def save_figure(figure: Figure, path: str | Path, *, dpi: int) -> Path:
    """Write a figure whose texts mean nothing but themselves; characters that no font has become a replacement.

    Args:
        figure: The finished figure.
        path: Picture to write; the suffix chooses the format (``.png``, ``.svg``, ``.pdf``).
        dpi: Pixels per inch.

    Returns:
        The path.
    """
    from matplotlib.text import Text

    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            # Texts at ticks are made when they are drawn, by the formatter, but the objects stay those made here.
            for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
                for label in (tick.label1, tick.label2):
                    _draw_literally(label)
            _show_literally(axis.get_major_formatter(), axis.label.get_fontproperties())
    for text in figure.findobj(Text):
        _draw_literally(text)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=dpi)
    return Path(path)


def _draw_literally(text: Text) -> None:
    text.set_parse_math(False)
    text.set_usetex(False)
    text.set_text(_visible(text.get_text(), text.get_fontproperties()))


def _show_literally(formatter: Any, font: FontProperties) -> None:
    """Change a formatter of given names so that it returns visible characters only."""
    if hasattr(formatter, "func"):
        inner = formatter.func
        formatter.func = lambda *value: _visible(inner(*value), font)
    elif hasattr(formatter, "seq"):
        formatter.seq = [_visible(text, font) for text in formatter.seq]


def _visible(text: str, font: FontProperties) -> str:
    known = _characters(tuple(font.get_family()))
    return "".join(char if char == "\n" or ord(char) in known else _REPLACEMENT for char in text)


@lru_cache(maxsize=16)
def _characters(families: tuple[str, ...]) -> frozenset[int]:
    """Return the characters of all fonts from which matplotlib draws text of these families."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    known = {ord(_REPLACEMENT)}
    for family in families:
        # In a list, because matplotlib takes a string for a pattern of fontconfig. Where the family is missing this is
        # the default font, as when drawing.
        known |= get_font(findfont(FontProperties(family=[family]))).get_charmap().keys()
    return frozenset(known)
