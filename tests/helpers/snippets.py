"""Snippets of the documentation: finding them in a page, and running a page from top to bottom.

``python -m helpers.snippets PAGE`` runs the Python and shell snippets of a page in the working directory, in order and
in one process, like a reader who types them into one session. Two HTML comments before a snippet change that:

``<!-- not run: REASON -->``
    The snippet needs what a test has not: a network, hours, another machine.
``<!-- run with: ARGUMENTS -->``
    The arguments are appended to each ``endofm`` command of the snippet, to make it short.

What a comment in a snippet claims is checked: the text that ``print`` shows must begin the comment behind it, and a
comment that begins with a shape, such as ``# (24, 192)``, must be the shape of the expression before it.
"""

from __future__ import annotations

import ast
import contextlib
import io
import itertools
import os
import re
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_FENCE = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
_MARK = re.compile(r"<!-- (not run|run with): ((?:(?!-->).)*) -->\s*\Z", re.DOTALL)
_SHAPE = re.compile(r"\((\d+,(?: \d+)?(?:, \d+)*)\)")

SHELL = ("", "bash", "console", "sh", "shell")
"""Languages of a fence that may hold commands."""

OPERATORS = {"|", ">", ">>", "<", "&&", ";"}
"""Words of a shell that end the arguments of a command."""


@dataclass(frozen=True)
class Snippet:
    """One fenced block of a page.

    Attributes:
        page: Markdown file.
        line: Line of its first line of code, from 1.
        language: Language of the fence, ``""`` if it has none.
        code: Text between the fences.
        not_run: Reason why it is not run; empty if it is.
        extra: Arguments that are appended to its commands.
    """

    page: Path
    line: int
    language: str
    code: str
    not_run: str = ""
    extra: tuple[str, ...] = ()

    def commands(self) -> list[list[str]]:
        """Return the ``endofm`` commands of a shell snippet as argument lists, without the program's name."""
        if self.language not in SHELL:
            return []
        lines = [shlex.split(line, comments=True) for line in shell_lines(self.code) if line.startswith("endofm ")]
        lines = [list(itertools.takewhile(lambda word: word not in OPERATORS, words)) for words in lines]
        return [words[1:] for words in lines if "..." not in words]


def snippets(page: Path) -> list[Snippet]:
    """Return the fenced blocks of a Markdown page, in order."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in _FENCE.finditer(text):
        mark = _MARK.search(text[: match.start()])
        kind, value = (mark[1], " ".join(mark[2].split())) if mark else ("", "")
        found.append(
            Snippet(
                page=page,
                line=text.count("\n", 0, match.start()) + 2,
                language=match[2],
                code="\n".join(line.removeprefix(match[1]) for line in match[3].splitlines()) + "\n",
                not_run=value if kind == "not run" else "",
                extra=tuple(shlex.split(value)) if kind == "run with" else (),
            )
        )
    return found


def shell_lines(code: str) -> list[str]:
    """Return commands with their continuation lines joined, without empty lines and comments."""
    lines = re.sub(r"\\\n\s*", "", code).splitlines()
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]


def run_page(page: Path) -> None:
    """Run the snippets of a page in the working directory.

    Raises:
        AssertionError: If a command fails or a comment is wrong; the message names page and line.
    """
    names: dict[str, Any] = {"__name__": "__main__"}
    for snippet in snippets(page):
        if snippet.not_run:
            continue
        if snippet.language == "python":
            _run_python(snippet, names)
        elif snippet.language == "bash":
            for line in shell_lines(snippet.code):
                _run_shell(snippet, line)


def _run_python(snippet: Snippet, names: dict[str, Any]) -> None:
    lines = snippet.code.splitlines()
    for node in ast.parse(snippet.code).body:
        place = f"{snippet.page.name}:{snippet.line + node.lineno - 1}"
        _, _, comment = lines[(node.end_lineno or node.lineno) - 1].partition("  # ")
        printed = io.StringIO()
        try:
            with contextlib.redirect_stdout(printed):
                value = _execute(node, place, names)
        except Exception as error:
            raise AssertionError(f"{place}: {type(error).__name__}: {error}") from error
        text = printed.getvalue().strip()
        print(text, end="\n" if text else "")
        if comment and text:
            assert comment.startswith(text), f"{place}: the comment is {comment!r}, the output {text!r}"
        elif shape := _SHAPE.match(comment):
            actual = tuple(value) if isinstance(value, tuple) else tuple(value.shape)
            assert actual == ast.literal_eval(shape[0]), f"{place}: the comment says {shape[0]}, the shape is {actual}"


def _execute(node: ast.stmt, place: str, names: dict[str, Any]) -> Any:
    """Run a statement; the value is that of an expression, or of what an assignment to one name assigned."""
    if isinstance(node, ast.Expr):
        return eval(compile(ast.Expression(node.value), place, "eval"), names)
    exec(compile(ast.Module([node], []), place, "exec"), names)
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
        return names[node.targets[0].id]
    return None


def _run_shell(snippet: Snippet, line: str) -> None:
    print(f"$ {line}", flush=True)
    place = f"{snippet.page.name}:{snippet.line}"
    words = shlex.split(line, comments=True)
    if words[0] == "export":
        name, _, value = words[1].partition("=")
        os.environ[name], status = value, 0
    elif words[0] == "endofm" and not set(words) & OPERATORS:
        # In this process: starting Python and importing torch for every command would take most of the time.
        from endofm.cli.main import main

        start = time.process_time()
        status = main([*words[1:], *snippet.extra])
        print(f"[{time.process_time() - start:.1f} s of processor time]")
    else:
        status = subprocess.run(["bash", "-euo", "pipefail", "-c", line], check=False).returncode
    assert status == 0, f"{place}: exit status {status}: {line}"


if __name__ == "__main__":
    run_page(Path(sys.argv[1]).resolve())
