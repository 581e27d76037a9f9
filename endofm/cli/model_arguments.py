"""Arguments of every command that runs a model on data: which weights, which frames, where and how exactly."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from endofm.cli.parser import offer_names

if TYPE_CHECKING:
    from endofm.models.pretrained import Pretrained

    Model = TypeVar("Model", bound=Pretrained)


def configure_weights(parser: argparse.ArgumentParser, *, default: str | None = None, several: bool = False) -> None:
    """Declare ``--weights``.

    Args:
        parser: Parser of the command.
        default: Weights that are used without the option; None makes it required.
        several: The command takes several, separated by commas; see :func:`split_weights`.
    """
    # Not argparse's default: a command announces the weights that it takes without the option.
    text = "registry name, owner/repo[@revision], folder, .safetensors or .pth file"
    text += "; several separated by commas" if several else ""
    action = parser.add_argument(
        "--weights", required=default is None, help=f"{text} (default: {default})" if default else text
    )
    offer_names(action, registered_names)


def registered_names() -> list[str]:
    """Return the names of the registered weights."""
    # Imported here: the records of all weights take longer to import than help to print.
    from endofm.hub.registry import list_models

    return list_models()


def split_weights(text: str) -> list[str]:
    """Return the weights that a command was given, separated by commas; the path of a file may contain some."""
    if Path(text).exists():
        return [text]
    return [name for part in text.split(",") if (name := part.strip())]


def configure_source(parser: argparse.ArgumentParser) -> None:
    """Declare ``--fps`` and ``--field-of-view``."""
    parser.add_argument("--fps", type=float, help="frame rate of folders of frames, which have no times (default: 30)")
    parser.add_argument(
        "--field-of-view",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="crop to the endoscope's image, without borders and text panels (default: as the weights specify)",
    )


def configure_media(parser: argparse.ArgumentParser) -> None:
    """Declare ``--media``, for commands on a library, whose videos may have been moved."""
    parser.add_argument(
        "--media",
        action="append",
        default=[],
        type=Path,
        metavar="DIR",
        help="folder of the videos, if they were moved (may be repeated)",
    )


def configure_windows(parser: argparse.ArgumentParser) -> None:
    """Declare the window options, which have the names of :class:`~endofm.video.clip_windows.WindowSettings`."""
    windows = parser.add_argument_group("clip windows")
    windows.add_argument(
        "--window-seconds", type=float, metavar="SECONDS", help="window length (default: as the weights specify)"
    )
    windows.add_argument("--hop-seconds", type=float, metavar="SECONDS", help="hop (default: the window length)")
    windows.add_argument(
        "--frame-stride", type=int, metavar="N", help="take every n-th source frame instead of counting seconds"
    )
    windows.add_argument("--hop-frames", type=int, metavar="N", help="hop of such windows in source frames")


def configure_work(
    parser: argparse.ArgumentParser, *, batch_size: int | None = None, unit: str = "", int8: bool = False
) -> argparse._ArgumentGroup:
    """Declare ``--device``, ``--precision``, ``--batch-size`` and ``--local-files-only``.

    Args:
        parser: Parser of the command.
        batch_size: Default of ``--batch-size``; None for no such option.
        unit: What it counts, such as ``"clips"``.
        int8: Offer this precision.

    Returns:
        The group of these arguments, for more of the kind.
    """
    work = parser.add_argument_group("work")
    work.add_argument("--device", help="cpu, cuda, cuda:1, mps (default: cpu)")
    work.add_argument(
        "--precision",
        choices=("auto", "exact", "bfloat16", *(["int8"] if int8 else [])),
        default="exact",
        help=f"exact (default), or faster: bfloat16{', int8 (CPU)' if int8 else ''}; "
        f"auto takes bfloat16 on a GPU that supports it",
    )
    if batch_size is not None:
        work.add_argument(
            "--batch-size",
            type=int,
            default=batch_size,
            metavar="N",
            help=f"{unit} per forward pass (default: {batch_size})",
        )
    work.add_argument("--local-files-only", action="store_true", help="never use the network")
    return work


def load_for_work(model_class: type[Model], args: argparse.Namespace) -> Model:
    """Load ``args.weights`` with the arguments of :func:`configure_work`."""
    model = model_class.from_pretrained(
        args.weights, local_files_only=args.local_files_only, device=args.device, precision=args.precision
    )
    report_precision(model, args)
    return model


def report_precision(model: Pretrained, args: argparse.Namespace) -> None:
    """Print the precision that ``--precision auto`` has chosen, unless the command is quiet."""
    if args.precision == "auto" and not getattr(args, "quiet", False):
        print(f"endofm: precision: {model.precision} (chosen for {model.device})", file=sys.stderr)
