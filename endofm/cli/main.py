"""Entry point of ``endofm``: finds the command, and turns our errors into one line and an exit status."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import warnings
from collections.abc import Sequence
from types import ModuleType

from endofm._version import __version__
from endofm.errors import EndoFMError, EndoFMWarning

COMMANDS = (
    "extract",
    "classify",
    "detect",
    "segment",
    "models",
    "info",
    "download",
    "convert",
    "export",
    "finetune",
    "evaluate",
    "data",
    "pretrain",
    "benchmark",
    "doctor",
)

_PYTHON_FORMAT = warnings.formatwarning

STATUS_FAILED = 1
STATUS_INTERRUPTED = 130  # 128 + SIGINT, as shells report it


def build_parser() -> argparse.ArgumentParser:
    """Return the parser with every command; a command's module is light, its work is imported when it runs."""
    parser = argparse.ArgumentParser(
        prog="endofm",
        description="Pretrained video foundation model for endoscopy. Research software: no result is medical advice.",
    )
    parser.add_argument("--version", action="version", version=f"endofm {__version__}")
    parsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in COMMANDS:
        module = _command(name)
        sub = parsers.add_parser(name, help=module.SUMMARY, description=module.SUMMARY)
        module.configure(sub)
        sub.set_defaults(run=module.run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: Arguments after the program's name; those of the process by default.

    Returns:
        Exit status: 0, 1 if the command failed, 130 if it was interrupted. Wrong usage exits with 2.
    """
    args = _parse(argv)
    # The format and not the display: a caller that records warnings, as tests do, still receives them.
    warnings.formatwarning = _format_warning
    try:
        status: int = args.run(args)
        sys.stdout.flush()
    except EndoFMError as error:
        print(f"endofm: error: {error}", file=sys.stderr)
        return STATUS_FAILED
    except KeyboardInterrupt:
        print("endofm: interrupted", file=sys.stderr)
        return STATUS_INTERRUPTED
    except BrokenPipeError:
        # The reader (head, less) has gone; Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return STATUS_FAILED
    return status


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse arguments. Settings (``key=value``) may stand before and after options, which argparse cannot do."""
    parser = build_parser()
    args, rest = parser.parse_known_args(argv)
    if rest and (not hasattr(args, "settings") or any("=" not in text or text.startswith("-") for text in rest)):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        args.settings = [*args.settings, *rest]
    return args


def _format_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    """Return a warning of this package as one plain line; others keep the source line that explains them."""
    if issubclass(category, EndoFMWarning):
        return f"endofm: warning: {message}\n"
    return _PYTHON_FORMAT(message, category, filename, lineno, line)


def _command(name: str) -> ModuleType:
    return importlib.import_module(f"endofm.cli.{name}")


if __name__ == "__main__":
    sys.exit(main())
