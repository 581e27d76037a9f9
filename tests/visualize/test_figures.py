"""Pictures show every text as it is written, whatever is in it."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from endofm.visualize.figures import add_legend, new_figure, save_figure
from helpers.paths import REPOSITORY

NAMES = ["a $_{$ b $ c", "_hidden", "x_1^2\\frac", "polyp \udce9", "漢字"]


@pytest.mark.parametrize("setting", [{}, {"text.usetex": True}])
def test_texts_are_literal(setting: dict[str, object], tmp_path: Path) -> None:
    import matplotlib as mpl

    with mpl.rc_context(setting), warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = new_figure(6, 5, extra="viz", purpose="A test")
        axes = figure.subplots()
        add_legend(axes, {name: axes.plot([0, 1], [0, 1])[0] for name in NAMES}, loc="upper right")
        axes.set_xticks(range(len(NAMES)), [f"tick {name}" for name in NAMES])
        axes.set(title=NAMES[0], xlabel=NAMES[2], ylabel=NAMES[0])
        save_figure(figure, tmp_path / "a.svg", dpi=80)
        save_figure(figure, tmp_path / "a.png", dpi=80)
    # Glyphs are drawn as paths, each text after a comment that holds it.
    drawn = (tmp_path / "a.svg").read_text(encoding="utf-8")
    for text in ("a $_{$ b $ c", "_hidden", "x_1^2\\frac", "polyp \ufffd", "tick polyp \ufffd", "tick \ufffd\ufffd"):
        assert f"<!-- {text} -->" in drawn


def test_all_pictures_are_saved_in_one_place() -> None:
    savers = [
        path.name for path in (REPOSITORY / "endofm").rglob("*.py") if ".savefig(" in path.read_text(encoding="utf-8")
    ]
    assert savers == ["figures.py"]
