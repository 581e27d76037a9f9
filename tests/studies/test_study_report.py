"""Pages of the documentation that show the summary of a study."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from endofm.errors import InputError
from studies.study import Study
from studies.study_report import Series, fill_page, markdown_table, over_seeds, plot_arms, plus_minus


class TwoArms(Study):
    """Shows a score of each arm."""

    @classmethod
    def table(cls, summary: Mapping[str, Any]) -> str:
        return markdown_table(["", "score"], [[arm, plus_minus(row)] for arm, row in summary["arms"].items()])

    @classmethod
    def plot(cls, summary: Mapping[str, Any], path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        plot_arms(path, {"score": [Series(summary["arms"])]})


def test_page_shows_a_summary_and_can_be_filled_again(tmp_path: Path) -> None:
    arms = {"scratch": over_seeds([0.44, 0.46]), "trained": over_seeds([0.6, None])}
    summary = {"command": "the command", "version": "1", "torch": "2", "config": {"seeds": [0, 1]}, "arms": arms}
    page = tmp_path / "some_study.md"
    page.write_text("before\n<!-- study: begin (x) -->\nstale text\n<!-- study: end -->\nafter\n", encoding="utf-8")
    for _ in range(2):
        fill_page(page, TwoArms, summary, command="fill")
    text = page.read_text(encoding="utf-8")
    assert text.startswith("before\n<!-- study: begin (fill) -->\nMade by `the command`")
    assert text.endswith("<!-- study: end -->\nafter\n")
    assert text.count("| scratch | 45.0 ± 1.4 |") == 1
    assert "stale text" not in text
    assert (tmp_path / "images" / "some-study.png").exists()
    page.write_text("no marks", encoding="utf-8")
    with pytest.raises(InputError, match="there is no part between"):
        fill_page(page, TwoArms, summary, command="fill")
    with pytest.raises(InputError, match="has no page"):
        fill_page(tmp_path / "none.md", TwoArms, summary, command="fill")


def test_the_mean_over_seeds_leaves_undefined_values_out() -> None:
    assert over_seeds([0.5, None, 0.7])["mean"] == pytest.approx(0.6)
    assert plus_minus(over_seeds([None])) == "-"
    assert plus_minus(over_seeds([0.25])) == "25.0"
    assert plus_minus(over_seeds([0.1, 0.3]), sign=True) == "+20.0 ± 14.1"
