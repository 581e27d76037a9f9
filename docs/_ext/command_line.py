"""Directive ``command-line``: reference of the command line, read from its parsers when the site is built."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import ClassVar

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx

from endofm.cli.main import build_parser

# Width that argparse wraps the usage line to, whatever the terminal of the build.
_USAGE_WIDTH = 96


class CommandLine(Directive):
    """Document every command: summary, usage, arguments by group, examples."""

    has_content: ClassVar[bool] = False

    def run(self) -> list[nodes.Node]:
        """Return a section for each command, with sections for its subcommands."""
        return [_section(name, parser) for name, parser in _commands(build_parser())]


def _commands(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    # argparse offers no public way from a parser to its subparsers.
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from action.choices.items()


def _section(name: str, parser: argparse.ArgumentParser) -> nodes.section:
    section = nodes.section(ids=[nodes.make_id(parser.prog)], names=[parser.prog])
    section += nodes.title("", "", nodes.literal(text=parser.prog))
    if parser.description:
        section += nodes.paragraph(text=_sentence(parser.description))
    parser.formatter_class = lambda prog: argparse.RawDescriptionHelpFormatter(prog, width=_USAGE_WIDTH)
    section += nodes.literal_block(text=parser.format_usage().removeprefix("usage: ").rstrip(), language="none")
    for group in parser._action_groups:
        rows = [action for action in group._group_actions if _documented(action)]
        if rows:
            section += _group(group.title or "", rows)
    if parser.epilog:
        section += nodes.literal_block(text=parser.epilog.strip(), language="none")
    section.extend(_section(child, below) for child, below in _commands(parser))
    return section


def _documented(action: argparse.Action) -> bool:
    return action.help is not argparse.SUPPRESS and not isinstance(
        action, (argparse._SubParsersAction, argparse._HelpAction)
    )


def _group(title: str, actions: list[argparse.Action]) -> nodes.Element:
    items = nodes.definition_list()
    for action in actions:
        term = nodes.term("", "", nodes.literal(text=_signature(action)))
        items += nodes.definition_list_item("", term, nodes.definition("", nodes.paragraph(text=_help(action))))
    return nodes.container("", nodes.rubric(text=title.capitalize()), items)


def _signature(action: argparse.Action) -> str:
    """Return how the argument is written, for example ``-o DIR, --out DIR``."""
    metavar = action.metavar or ("{" + ",".join(map(str, action.choices)) + "}" if action.choices else action.dest)
    value = " ".join(metavar) if isinstance(metavar, tuple) else str(metavar)
    if not action.option_strings:
        return value
    if action.nargs == 0:
        return ", ".join(action.option_strings)
    if not action.metavar and not action.choices:
        value = value.upper()
    return ", ".join(f"{option} {value}" for option in action.option_strings)


def _help(action: argparse.Action) -> str:
    values = {**vars(action), "prog": ""}
    return (action.help or "") % values


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("command-line", CommandLine)
    return {"parallel_read_safe": True}
