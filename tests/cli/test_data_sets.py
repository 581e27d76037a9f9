"""The pages on data sets say what the recipes say."""

from __future__ import annotations

import subprocess
import sys

import pytest

from endofm.data.prepare.catalogue import SETS
from helpers import paths

PAGES = paths.REPOSITORY / "docs" / "data"


def sets(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "endofm", "data", "sets", *arguments]
    return subprocess.run(command, capture_output=True, text=True)


def test_the_table_of_sets_is_that_of_the_command() -> None:
    table = sets("--markdown").stdout
    assert table
    assert table in (PAGES / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", SETS)
def test_every_set_has_a_page(name: str) -> None:
    recipe, text = SETS[name], (PAGES / f"{name}.md").read_text(encoding="utf-8")
    assert f"endofm data prepare {name} SRC OUT" in text
    if name in ("folder", "stills"):
        return
    for heading in ("**What it is.**", "**From.**", "**Licence.**", "**Reported.**", "**Overlap"):
        assert heading in text
    assert f"{recipe.clips:,}" in text
    assert f"{recipe.frames:,}" in text
    assert recipe.source.split(" and ")[0] in text
    for overlap in recipe.overlaps:
        assert f"({overlap.partition(':')[0]}.md)" in text


def test_one_set_is_shown_with_its_overlaps() -> None:
    shown = sets("polypdiag").stdout
    assert "hyper-kvasir" in shown
    assert "485,561 frames" in shown
    wrong = sets("polypdia")
    assert wrong.returncode == 1
    assert "did you mean 'polypdiag'" in wrong.stderr
