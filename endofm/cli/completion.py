"""``endofm completion``: script that completes commands, options, choices and names in a shell."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path

from endofm.cli.parser import NAMES

SUMMARY = "print a script that completes commands, options and names in bash or zsh"
EXAMPLES = (
    'eval "$(endofm completion bash)"',
    "endofm completion bash > ~/.local/share/bash-completion/completions/endofm",
    'endofm completion zsh > "${fpath[1]}/_endofm"',
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("shell", choices=("bash", "zsh"), help="shell that reads the script")


def run(args: argparse.Namespace) -> int:
    """Print the script."""
    from endofm.cli.main import build_parser
    from endofm.errors import require_extra

    shtab = require_extra("shtab", "completion", "Writing a completion script")
    parser = build_parser()
    functions: dict[tuple[str, ...], str] = {}
    for command in parser.with_subcommands():
        for action in command._actions:
            if isinstance(action, argparse._SubParsersAction) and action.help == argparse.SUPPRESS:
                # The description of the help lists the commands, and shtab leaves out what help does not show.
                action.help = None
            # "complete" is the attribute that shtab looks for.
            if offered := getattr(action, NAMES, None):
                # By "files" in the name shtab knows that matches may be paths, which get a slash after folders.
                function = functions.setdefault(tuple(offered()), f"_endofm_names_or_files_{len(functions)}")
                setattr(action, "complete", {args.shell: function})  # noqa: B010
            elif action.nargs != 0 and action.choices is None and action.type in (None, Path):
                setattr(action, "complete", shtab.FILE)  # noqa: B010
    preamble = [_function(name, args.shell, words) for words, name in functions.items()]
    print(shtab.complete(parser, args.shell, preamble="\n".join(preamble)))
    return 0


def _function(name: str, shell: str, names: Sequence[str]) -> str:
    """Return the definition of a function that completes names and paths of files."""
    words = " ".join(map(shlex.quote, names))
    if shell == "zsh":
        return f"{name}() {{ compadd -- {words}; _files }}"
    return f'{name}() {{ compgen -W "{words}" -- "$1"; compgen -f -- "$1"; }}'
