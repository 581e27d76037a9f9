"""Arguments of every command that runs a model on data: where, how exactly, how much at a time."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from endofm.models.pretrained import Pretrained

    Model = TypeVar("Model", bound=Pretrained)


def configure_work(
    parser: argparse.ArgumentParser, *, batch_size: int, unit: str, int8: bool = False
) -> argparse._ArgumentGroup:
    """Declare ``--device``, ``--precision``, ``--batch-size`` and ``--local-files-only``.

    Args:
        parser: Of the command.
        batch_size: What ``--batch-size`` is by default.
        unit: What it counts, such as ``"clips"``.
        int8: Offer this precision too.

    Returns:
        The group that they are in, for more of the kind.
    """
    work = parser.add_argument_group("work")
    work.add_argument("--device", help="cpu, cuda, cuda:1, mps (default: cpu)")
    work.add_argument(
        "--precision",
        choices=("auto", "exact", "bfloat16", *(["int8"] if int8 else [])),
        default="exact",
        help=f"exact (default), or faster: bfloat16{', int8 (CPU)' if int8 else ''}; "
        f"auto takes bfloat16 on a GPU that has it",
    )
    work.add_argument(
        "--batch-size",
        type=int,
        default=batch_size,
        metavar="N",
        help=f"{unit} per forward pass (default: {batch_size})",
    )
    work.add_argument("--local-files-only", action="store_true", help="never touch the network")
    return work


def load_for_work(model_class: type[Model], args: argparse.Namespace) -> Model:
    """Load ``args.weights`` as the arguments of :func:`configure_work` say."""
    model = model_class.from_pretrained(
        args.weights, local_files_only=args.local_files_only, device=args.device, precision=args.precision
    )
    tell_precision(model, args)
    return model


def tell_precision(model: Pretrained, args: argparse.Namespace) -> None:
    """Say what ``--precision auto`` has chosen, unless the command was told to be quiet."""
    if args.precision == "auto" and not getattr(args, "quiet", False):
        print(f"endofm: precision: {model.precision} (chosen for {model.device})", file=sys.stderr)
