"""Parser of the command line: subcommands from modules, and suggestions for mistyped names."""

from __future__ import annotations

import argparse
import difflib
import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

NAMES = "names"
"""Attribute of an argument with the names that :func:`offer_names` gave it."""


class CommandParser(argparse.ArgumentParser):
    """Parser that suggests the command or option that was probably meant; its subparsers are of the same class.

    Parsed arguments hold the parser of the innermost command as ``parser``.
    """

    def __init__(self, **options: Any) -> None:
        # Descriptions and epilogs hold lists and examples, whose line breaks count.
        options.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(**options)
        self.set_defaults(parser=self)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Refuse a value that is not among the choices, with a suggestion; called by argparse for every argument."""
        if action.choices is None or value in action.choices:
            return
        choices = [str(choice) for choice in action.choices]
        raise argparse.ArgumentError(action, f"invalid choice: {value!r}{suggestion(value, choices)}")

    def fail_unrecognized(self, arguments: list[str]) -> NoReturn:
        """Exit with status 2, naming the options that were probably meant."""
        known = list(self._option_string_actions)
        options = [text.partition("=")[0] for text in arguments if text.startswith("--")]
        close = [match for text in options for match in difflib.get_close_matches(text, known, n=1)]
        hint = f"; did you mean {', '.join(close)}?" if close else ""
        self.error(f"unrecognized arguments: {' '.join(arguments)}{hint}")

    def with_subcommands(self) -> list[CommandParser]:
        """Return this parser and those of all subcommands."""
        found = [self]
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                for parser in dict.fromkeys(action.choices.values()):
                    found.extend(parser.with_subcommands())
        return found


def suggestion(value: str, choices: list[str]) -> str:
    """Return the end of a message about a wrong name: the closest choice if there is one, and all choices."""
    close = difflib.get_close_matches(str(value), choices, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"; {hint}choose from {', '.join(choices)}"


def offer_names(action: argparse.Action, names: Callable[[], Sequence[str]]) -> None:
    """Let shell completion offer names for an argument that also takes paths.

    Args:
        action: The argument.
        names: Returns the names; called when a completion script is written, so that it may import what it needs.
    """
    setattr(action, NAMES, names)


def add_commands(
    parser: argparse.ArgumentParser, modules: Mapping[str, str], *, metavar: str = "COMMAND", show: bool = True
) -> None:
    """Add a subparser for every command.

    A module of ``endofm.cli`` defines ``SUMMARY`` (one line), ``configure(parser)`` and ``run(args)``, which returns
    the exit status. ``EXAMPLES`` are command lines that end the help; a group has the first of each of its commands. It
    imports its work when it runs, so that help stays fast.

    Args:
        parser: Parser that gets the commands.
        modules: Module of every command: a name in ``endofm.cli``, or a full name with dots.
        metavar: Placeholder of the command in the usage line.
        show: List the commands in the parser's help; otherwise its description does.
    """
    options: dict[str, Any] = {} if show else {"help": argparse.SUPPRESS}
    # The name is given, because argparse would otherwise take all of the parser's usage line for it.
    parsers = parser.add_subparsers(metavar=metavar, required=True, prog=parser.prog, **options)
    firsts: list[str] = []
    for name, module_name in modules.items():
        module = importlib.import_module(module_name if "." in module_name else f"endofm.cli.{module_name}")
        examples = getattr(module, "EXAMPLES", ())
        firsts += examples[:1]
        epilog = examples_text(examples)
        sub = parsers.add_parser(name, help=module.SUMMARY, description=module.SUMMARY, epilog=epilog)
        # A module with subcommands has no run of its own: the innermost command's default wins.
        if hasattr(module, "run"):
            sub.set_defaults(run=module.run)
        module.configure(sub)
    if parser.epilog is None:
        parser.epilog = examples_text(firsts)


def examples_text(examples: Sequence[str]) -> str | None:
    """Return command lines as the end of a help text; None if there are none."""
    return "\n".join(["examples:", *(f"  {example}" for example in examples)]) if examples else None
