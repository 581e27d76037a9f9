"""Brings pages from elsewhere in the repository into the site, and points links between pages to the right place.

Pages are written so that their links work when the repository is browsed. In the site, a page outside ``docs/`` is a
copy in ``docs/repository/``, so a link to it, and every link in it, has to change.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from sphinx.application import Sphinx

DOCS = Path(__file__).resolve().parents[1]
REPOSITORY = DOCS.parent
COPIES = DOCS / "repository"

# README.md is left out: the index of the site takes its place.
_PAGES = ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "CODE_OF_CONDUCT.md")
_FOLDERS = ("benchmarks", "endofm/weights", "recipes", "studies")
_LINK = re.compile(r"(?<=\]\()(?!\w+:|#)([^)#\s]+)")


def _copies() -> dict[Path, Path]:
    """Return the page of the site for every page outside ``docs/``."""
    pages = [REPOSITORY / name for name in _PAGES]
    for folder in _FOLDERS:
        pages.extend(sorted((REPOSITORY / folder).rglob("*.md")))
    names = {page: page.relative_to(REPOSITORY).as_posix().lower().replace("/", "-") for page in pages}
    return {page: COPIES / name for page, name in names.items() if page.is_file()}


def _rewrite(text: str, source: Path, target: Path) -> str:
    """Return the text of ``source`` with links that work from ``target``."""
    moved = {**_copies(), REPOSITORY / "README.md": DOCS / "index.md"}

    def link(match: re.Match[str]) -> str:
        path = Path(os.path.normpath(source.parent / match[1]))
        if path.is_dir() and (path / "README.md").is_file():
            path /= "README.md"
        # What does not exist is left alone: Sphinx reports it.
        return os.path.relpath(moved.get(path, path), target.parent) if path.exists() else match[1]

    return _LINK.sub(link, text)


def _copy_pages(app: Sphinx) -> None:
    # Pages of an earlier build would stay although their source has been renamed; so would those of the API reference.
    shutil.rmtree(DOCS / "api" / "generated", ignore_errors=True)
    shutil.rmtree(COPIES, ignore_errors=True)
    COPIES.mkdir()
    for source, target in _copies().items():
        target.write_text(_rewrite(source.read_text(encoding="utf-8"), source, target), encoding="utf-8")


def _point_links(app: Sphinx, document: str, content: list[str]) -> None:
    page = DOCS / f"{document}.md"
    if page.is_file() and COPIES not in page.parents:
        content[0] = _rewrite(content[0], page, page)


def setup(app: Sphinx) -> dict[str, bool]:
    """Copy the pages before Sphinx looks for documents, and correct links when it reads one."""
    # Before autosummary, which generates pages at the same event.
    app.connect("builder-inited", _copy_pages, priority=0)
    app.connect("source-read", _point_links)
    return {"parallel_read_safe": True}
