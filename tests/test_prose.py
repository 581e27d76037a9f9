"""Word list over docstrings, comments, messages and pages: phrases that a technical writer would not use.

``python tests/test_prose.py [PATH...]`` prints every finding with file and line, and the number in each folder.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).resolve().parents[1]

# Each pattern with the plain wording; spaces match line breaks as well.
WORD_LIST = {
    r"(?:told|tells?|telling) of": "names, reports, describes",
    r"to be had": "available",
    r"whole numbers?": "integer",
    r"a text(?! (?:box|column|editor|field|file|line|panel))": "a string",
    r"(?:go|goes|went) on": "continue, resume",
    r"(?:lie|lies|lay|lying) beside": "is stored next to",
    r"laid out": "arranged, structured",
    r"likewise": "also, in the same way",
    r"nobody": "no one, or the passive voice",
    r"beg[iau]ns? anew": "start over",
    r"says? whether": "Return whether ...",
    r"what is (?:said|done|made|told)": "name the thing",
}
IDIOM = re.compile(r"\b(?:" + "|".join(WORD_LIST).replace(" ", r"\s+") + r")\b", re.IGNORECASE)
QUESTION = re.compile(r"\s*(?:What|How|Who|Whose|Which|Where)\b")
"""Opening of a docstring that describes its subject by a question instead of naming it."""

FOLDERS = (".github", "benchmarks", "docs", "endofm", "examples", "recipes", "studies", "tests")
SUFFIXES = (".py", ".md", ".yaml", ".yml")

# Not edited yet: whoever has brought a row to zero findings removes it.
PENDING: tuple[str, ...] = ()


class Finding(NamedTuple):
    """A phrase of the word list and where it stands."""

    path: str
    line: int
    phrase: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.phrase!r}"


def files() -> list[str]:
    """Python files, pages and settings, relative to the repository, except this file, which quotes the list."""
    paths = list(REPOSITORY.glob("*.*"))
    for folder in FOLDERS:
        paths.extend((REPOSITORY / folder).rglob("*.*"))
    names = {path.relative_to(REPOSITORY).as_posix() for path in paths if path.suffix in SUFFIXES}
    built = ("docs/_build/", "docs/api/generated/", "docs/repository/")
    return sorted(name for name in names - {"tests/test_prose.py"} if not name.startswith(built))


def findings(name: str) -> Iterator[Finding]:
    """Phrases of the word list in one file."""
    text = (REPOSITORY / name).read_text(encoding="utf-8")
    if not name.endswith(".py"):
        yield from _idiom(name, 1, text)
        return
    tests = name.startswith("tests/")
    tree = ast.parse(text)
    documented = list(_docstrings(tree))
    for node in documented:
        # The docstring of a test may state the question that it answers.
        if not tests and QUESTION.match(node.value):
            yield Finding(name, node.lineno, node.value.strip().split("\n")[0])
        yield from _idiom(name, node.lineno, node.value)
    if tests:
        return
    yield from _comments(name, text)
    known = {id(node) for node in documented}
    for node in ast.walk(tree):
        # Adjacent literals are one node here, so a phrase is found across them.
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in known:
            yield from _idiom(name, node.lineno, node.value)


def _docstrings(tree: ast.Module) -> Iterator[ast.Constant]:
    """String statements: docstrings of modules, classes and functions, and those below an attribute."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.value


def _comments(name: str, text: str) -> Iterator[Finding]:
    """Findings in comments; consecutive lines are read as one comment."""
    block: list[str] = []
    first = last = 0
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type != tokenize.COMMENT:
            continue
        line = token.start[0]
        if line != last + 1:
            yield from _idiom(name, first, "\n".join(block))
            block, first = [], line
        block.append(token.string.lstrip("# "))
        last = line
    yield from _idiom(name, first, "\n".join(block))


def _idiom(name: str, line: int, text: str) -> Iterator[Finding]:
    for match in IDIOM.finditer(text):
        yield Finding(name, line + text.count("\n", 0, match.start()), " ".join(match[0].split()))


def test_pages_docstrings_and_messages_keep_to_the_word_list() -> None:
    found = [finding for name in files() if not name.startswith(PENDING) for finding in findings(name)]
    assert not found, "\n".join(map(str, found))


def _area(name: str) -> str:
    parts = name.split("/")
    return "/".join(parts[: 2 if parts[0] in ("endofm", "docs", "tests") and len(parts) > 2 else 1])


def main() -> None:
    """Print the findings and how many there are in each folder."""
    chosen = tuple(argument.rstrip("/") for argument in sys.argv[1:])
    found = [finding for name in files() if not chosen or name.startswith(chosen) for finding in findings(name)]
    print(*found, sep="\n")
    for area, count in sorted(Counter(_area(finding.path) for finding in found).items()):
        print(f"{count:5}  {area}")


if __name__ == "__main__":
    main()
