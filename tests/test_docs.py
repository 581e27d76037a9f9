"""The documentation says what the code says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from endofm.cli.main import COMMANDS
from helpers.paths import REPOSITORY

PAGES = sorted([REPOSITORY / "README.md", REPOSITORY / "CHANGELOG.md", *(REPOSITORY / "docs").rglob("*.md")])


@pytest.mark.parametrize("page", ["README.md", "docs/weights.md"])
def test_weights_tables_are_those_of_the_registry(page: str) -> None:
    command = [sys.executable, "-m", "endofm", "models", "--markdown"]
    table = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    found = text.split("<!-- weights-table: begin (endofm models --markdown) -->\n")[1].split(
        "<!-- weights-table: end"
    )[0]
    assert found == table


def test_readme_opens_with_two_commands_and_names_every_command() -> None:
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    first = re.search(r"```bash\n(.*?)```", text, re.DOTALL)
    assert first is not None
    assert len(first[1].splitlines()) == 2
    for command in COMMANDS:
        assert f"`endofm {command} " in text or f"`endofm {command}`" in text, command


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_links_within_the_repository_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s#]+)[^)]*\)", text):
        if not target.startswith(("http:", "https:", "mailto:")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_page_says_or_leads_to_the_disclaimer() -> None:
    assert "medical advice" in (REPOSITORY / "README.md").read_text(encoding="utf-8")
