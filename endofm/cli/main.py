"""Entry point of ``endofm``: finds the command and turns errors into one line and an exit status."""

from __future__ import annotations

import argparse
import errno
import importlib
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

from endofm._version import __version__
from endofm.address import Address, was_address
from endofm.cli.parser import CommandParser, add_commands
from endofm.disclaimer import DISCLAIMER
from endofm.errors import EndoFMError, EndoFMWarning, InputError
from endofm.files import require_writable

GROUPS = {
    "run a model on video": ("extract", "classify", "detect", "segment", "report", "visualize"),
    "search procedures": ("library", "search", "app"),
    "find, fetch and convert weights": ("models", "info", "download", "convert", "export"),
    "train and evaluate": ("data", "pretrain", "finetune", "evaluate", "bench"),
    "check and set up this machine": ("doctor", "benchmark", "completion"),
}
"""Commands by the heading under which ``endofm --help`` lists them; each is a module of ``endofm.cli``."""

COMMANDS = tuple(command for commands in GROUPS.values() for command in commands)

_PYTHON_FORMAT = warnings.formatwarning

STATUS_FAILED = 1
STATUS_INTERRUPTED = 130  # 128 + SIGINT, as shells report it

_FILE_SUFFIXES = frozenset(
    [
        *(".bin", ".csv", ".h5", ".html", ".json", ".mp4", ".avi", ".mkv", ".mov", ".npz", ".onnx", ".parquet", ".pdf"),
        *(".png", ".jpg", ".pt", ".pt2", ".pth", ".safetensors", ".tar", ".txt", ".xml", ".yaml", ".yml", ".zarr"),
        ".zip",
    ]
)

_EPILOG = """\
examples:
  endofm segment still.jpg -o masks.png
  endofm extract recordings/ -o features/ --weights endofm-nano-4x96
  endofm finetune classification nano --out runs/mine data.train=train.csv
  endofm classify recordings/ -o results/ --weights runs/mine/export

`endofm COMMAND --help` describes a command."""


def build_parser() -> CommandParser:
    """Return the parser with every command; building it imports neither torch nor a video library."""
    lines = ["Pretrained video foundation model for endoscopy.", DISCLAIMER]
    for heading, commands in GROUPS.items():
        lines += ["", f"{heading}:"]
        lines += [f"  {name:<12}{importlib.import_module(f'endofm.cli.{name}').SUMMARY}" for name in commands]
    usage = "endofm [-h] [--version] COMMAND ..."
    parser = CommandParser(prog="endofm", usage=usage, description="\n".join(lines), epilog=_EPILOG)
    parser.add_argument("--version", action="version", version=f"endofm {__version__}")
    add_commands(parser, {name: name for name in COMMANDS}, show=False)
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
        # Names of files need not be text in any encoding.
        if hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(errors="backslashreplace")
        _check_outputs(args)
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
    except OSError as error:
        # The package names what it cannot read or write; this is what the machine said in between.
        print(f"endofm: error: {_describe(error)}", file=sys.stderr)
        return STATUS_FAILED
    return status


def _check_outputs(args: argparse.Namespace) -> None:
    """Raise if the output (``out``) of any command cannot be written, before anything is loaded or computed.

    Commands that also write files declare the suffixes as ``file_outputs`` and say what they take; the output of all
    others is a folder. Suffixes that such a folder may have are ``folder_suffixes``.

    Raises:
        InputError: If it cannot be written, or a file is named where a folder is written.
    """
    from endofm.output_place import place_of

    out = getattr(args, "out", None)
    if out is None or getattr(args, "dry_run", False):
        return
    for one in out if isinstance(out, list) else [out]:
        # Commands that write to addresses have made one of the argument.
        target = one if isinstance(one, Address) else Path(one)
        suffix = target.suffix.lower()
        if isinstance(target, Path) and was_address(target):
            raise InputError(f"{target}: this command writes to a folder of this machine, not to an address")
        if not getattr(args, "file_outputs", ()):
            if isinstance(target, Path) and target.is_file():
                raise InputError(f"{target} is a file, and the output is a folder; name another one")
            files = _FILE_SUFFIXES.difference(getattr(args, "folder_suffixes", ()))
            if suffix in files and not target.is_dir():
                raise InputError(f"{target} looks like a file ({suffix}), and the output is a folder; name a folder")
        if isinstance(target, Path):
            require_writable(target)
        else:
            place_of(target)


def _describe(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full; make room and rerun the command"
    where = f"{error.filename}: " if error.filename is not None else ""
    return f"{where}{error.strerror or error}"


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse arguments. Settings (``key=value``) may stand before and after options, which argparse cannot do."""
    parser = build_parser()
    args, rest = parser.parse_known_args(argv)
    if rest and (not hasattr(args, "settings") or any("=" not in text or text.startswith("-") for text in rest)):
        args.parser.fail_unrecognized(rest)
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


if __name__ == "__main__":
    sys.exit(main())
