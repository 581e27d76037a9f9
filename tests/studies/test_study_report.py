"""Pages of the documentation that show the summary of a study."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from endofm.errors import InputError
from helpers.paths import REPOSITORY

SUMMARY = REPOSITORY / "studies" / "results" / "pretraining-full.json"


def test_page_shows_a_summary_and_can_be_filled_again(tmp_path: Path) -> None:
    from studies.pretraining import PretrainingStudy
    from studies.study_report import fill_page

    summary = {**json.loads(SUMMARY.read_text(encoding="utf-8")), "command": "the command"}
    page = tmp_path / "some_study.md"
    page.write_text("before\n<!-- study: begin (x) -->\nstale text\n<!-- study: end -->\nafter\n", encoding="utf-8")
    for _ in range(2):
        fill_page(page, PretrainingStudy, summary, command="fill")
    text = page.read_text(encoding="utf-8")
    assert text.startswith("before\n<!-- study: begin (fill) -->\nMade by `the command`")
    assert text.endswith("<!-- study: end -->\nafter\n")
    assert text.count("| scratch | 45.5 ± 2.0 |") == 1
    assert "stale text" not in text
    assert (tmp_path / "images" / "some-study.png").exists()
    page.write_text("no marks", encoding="utf-8")
    with pytest.raises(InputError, match="there is no part between"):
        fill_page(page, PretrainingStudy, summary, command="fill")
    with pytest.raises(InputError, match="has no page"):
        fill_page(tmp_path / "none.md", PretrainingStudy, summary, command="fill")


@pytest.mark.parametrize("study", ["pretraining", "segmentation"])
def test_pages_of_the_documentation_match_their_summaries(study: str, tmp_path: Path) -> None:
    from studies.__main__ import study_class
    from studies.study_report import fill_page

    text = (REPOSITORY / "docs" / f"{study}_study.md").read_text(encoding="utf-8")
    command = re.search(r"study: begin \((.*)\)", text)
    assert command is not None
    summary = json.loads((REPOSITORY / command[1].split()[-1]).read_text(encoding="utf-8"))
    page = tmp_path / f"{study}_study.md"
    page.write_text(text, encoding="utf-8")
    fill_page(page, study_class(study), summary, command=command[1])
    assert page.read_text(encoding="utf-8") == text


def test_the_mean_over_seeds_leaves_undefined_values_out() -> None:
    from studies.study_report import over_seeds, plus_minus

    assert over_seeds([0.5, None, 0.7])["mean"] == pytest.approx(0.6)
    assert plus_minus(over_seeds([None])) == "-"
    assert plus_minus(over_seeds([0.25])) == "25.0"
    assert plus_minus(over_seeds([0.1, 0.3]), sign=True) == "+20.0 ± 14.1"
