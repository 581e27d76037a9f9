"""The documentation is true: snippets run, commands exist, links lead somewhere, tables are those of the code."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest
from PIL import Image

import endofm
from endofm.cli.main import COMMANDS, build_parser
from helpers.paths import REPOSITORY
from helpers.snippets import Snippet, snippets

README = REPOSITORY / "README.md"
EXECUTED = [README, REPOSITORY / "docs" / "start.md", *sorted((REPOSITORY / "docs" / "guides").glob("*.md"))]
"""Pages whose snippets are run; those of reference pages are parsed."""

# Pages that Sphinx copies or generates are no sources.
PAGES = sorted(
    page
    for folder in (".", ".github", "docs", "benchmarks", "studies", "recipes", "endofm")
    for page in (REPOSITORY / folder).glob("*.md" if folder == "." else "**/*.md")
    if not {"generated", "repository", "_build"} & set(page.relative_to(REPOSITORY).parts)
)

MOST_NOT_RUN = 17
"""Snippets of the executed pages that are marked as not run."""


def name_of(page: Path) -> str:
    return page.relative_to(REPOSITORY).as_posix()


def snippets_of(pages: list[Path]) -> list[Snippet]:
    return [snippet for page in pages for snippet in snippets(page)]


@pytest.fixture(scope="session")
def session_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with what a reader has: a recording, a folder of recordings and a still."""
    folder = tmp_path_factory.mktemp("reader")
    (folder / "recordings").mkdir()
    for name in ("procedure.mp4", "recordings/one.mp4", "recordings/two.mp4"):
        shutil.copy(endofm.demo_video(), folder / name)
    with endofm.open_video(endofm.demo_video()) as video:
        Image.fromarray(next(iter(video)).data).save(folder / "still.jpg")
    return folder


@pytest.mark.parametrize("page", EXECUTED, ids=name_of)
def test_snippets_run(page: Path, session_files: Path, tmp_path: Path) -> None:
    shutil.copytree(session_files, tmp_path, dirs_exist_ok=True)
    paths = [str(REPOSITORY), str(REPOSITORY / "tests"), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, "-m", "helpers.snippets", str(page)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_few_snippets_are_not_run_and_each_says_why() -> None:
    marked = [snippet for snippet in snippets_of(EXECUTED) if snippet.not_run]
    assert len(marked) <= MOST_NOT_RUN
    # Without a language a fence is not run; commands and Python need one.
    unmarked = [snippet for snippet in snippets_of(EXECUTED) if not snippet.language and snippet.commands()]
    assert not unmarked, [f"{snippet.page.name}:{snippet.line}" for snippet in unmarked]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_snippets_parse_and_import_what_exists(page: Path) -> None:
    parser = build_parser()
    for snippet in snippets(page):
        if snippet.language == "python":
            for node in ast.walk(ast.parse(snippet.code, filename=f"{page.name}:{snippet.line}")):
                if isinstance(node, ast.ImportFrom) and str(node.module).startswith("endofm"):
                    module = importlib.import_module(str(node.module))
                    missing = [name.name for name in node.names if not hasattr(module, name.name)]
                    assert not missing, f"{page.name}:{snippet.line}: {node.module} has no {missing}"
        for command in snippet.commands():
            source = f"{page.name}:{snippet.line}: endofm {' '.join(command)}"
            try:
                _, rest = parser.parse_known_args(command)
            except SystemExit:
                pytest.fail(source)
            # Settings may follow options; anything else that is left over is an option that does not exist.
            assert all("=" in text and not text.startswith("-") for text in rest), source


@pytest.mark.parametrize(
    ("page", "table", "options"),
    [
        ("README.md", "weights", "--markdown"),
        ("docs/weights.md", "weights", "--markdown"),
        ("docs/encoders.md", "encoders", "--markdown encoders"),
    ],
)
def test_weights_tables_are_those_of_the_registry(page: str, table: str, options: str) -> None:
    command = [sys.executable, "-m", "endofm", "models", *options.split()]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    _, _, rest = text.partition(f"<!-- {table}-table: begin (endofm models {options}) -->\n")
    assert rest.partition(f"<!-- {table}-table: end")[0] == printed


def test_readme_opens_with_two_commands_and_names_every_command() -> None:
    text = README.read_text(encoding="utf-8")
    first = re.search(r"```bash\n(.*?)```", text, re.DOTALL)
    assert first is not None
    assert len(first[1].splitlines()) == 2
    for command in COMMANDS:
        assert f"`endofm {command} " in text or f"`endofm {command}`" in text, command


def test_the_table_of_extras_is_complete() -> None:
    settings = ConfigParser(interpolation=None)
    settings.read(REPOSITORY / "setup.cfg", encoding="utf-8")
    table = (REPOSITORY / "docs" / "start.md").read_text(encoding="utf-8").partition("| Extra | Adds |")[2]
    listed = re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| (`[^|]+) \|", table, re.MULTILINE)))
    developers = {"bench", "docs", "test", "dev"}
    assert sorted(listed) == sorted(set(settings["options.extras_require"]) - developers)


def test_readme_and_index_carry_the_disclaimer() -> None:
    for page in (README, REPOSITORY / "docs" / "start.md"):
        assert "medical advice" in page.read_text(encoding="utf-8")


def test_api_reference_lists_the_public_names() -> None:
    text = (REPOSITORY / "docs" / "api" / "index.md").read_text(encoding="utf-8")
    listed = re.findall(r"^   endofm\.(\w+)$", text, re.MULTILINE)
    assert sorted(listed) == sorted(name for name in endofm.__all__ if name != "__version__")


def test_public_modules_exist() -> None:
    text = (REPOSITORY / "docs" / "api" / "modules.md").read_text(encoding="utf-8")
    for name in re.findall(r"^   (endofm\.[\w.]+)$", text, re.MULTILINE):
        assert importlib.util.find_spec(name), name


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_within_the_repository_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s#]+)[^)]*\)", text):
        if not target.startswith(("http:", "https:", "mailto:")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
