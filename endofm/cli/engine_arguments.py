"""Arguments of every command over many videos: how many at a time, and on which machines."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from endofm.cli.printing import say

if TYPE_CHECKING:
    from endofm.pool import Engine


_READERS_OF_A_GPU = 4


def configure_engine(parser: argparse.ArgumentParser, *, jobs: str, gpus: bool = False) -> None:
    """Declare ``--engine`` and what belongs to it.

    Args:
        parser: Parser of the command.
        jobs: Help of ``--jobs``.
        gpus: The work may run on GPUs.
    """
    group = parser.add_argument_group("machines")
    group.add_argument("--jobs", type=int, metavar="N", help=jobs)
    group.add_argument("--threads", type=int, metavar="N", help="CPU threads of each (default: cores / jobs; ray: 1)")
    group.add_argument(
        "--engine",
        choices=("local", "ray"),
        default="local",
        help="local (default): processes of this machine; ray: of all machines of a Ray cluster",
    )
    group.add_argument(
        "--address",
        metavar="HOST:PORT",
        help="Ray cluster, or auto for that of this machine (default: that, or Ray is started for this command)",
    )
    if gpus:
        group.add_argument(
            "--gpus-per-job",
            type=float,
            metavar="N",
            help="ray: GPUs of each job, also fractions (default: 1 with --device cuda, otherwise 0)",
        )
        group.add_argument(
            "--readers",
            type=int,
            metavar="N",
            help="ray: processes that read and decode for each job of `extract` (default: 4 with --device cuda, "
            "otherwise 0: it does so itself)",
        )


def check_engine(args: argparse.Namespace) -> None:
    """Check the arguments of :func:`configure_engine`, those of the device and of precision against the engine.

    Raises:
        InputError: If one is out of range, or does not go with another.
    """
    from endofm.errors import InputError, quoted

    for name in ("jobs", "threads"):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise InputError(f"--{name} must be at least 1, got {value}")
    readers = getattr(args, "readers", None)
    gpus, device = getattr(args, "gpus_per_job", None), getattr(args, "device", None)
    if args.engine == "local":
        for name, value in (("address", args.address), ("gpus-per-job", gpus), ("readers", readers)):
            if value is not None:
                raise InputError(f"--{name} goes with --engine ray")
        return
    if gpus is not None and not gpus > 0:
        raise InputError(f"--gpus-per-job must be a number > 0, got {gpus:g}")
    if readers is not None and readers < 0:
        raise InputError(f"--readers must be at least 0, got {readers}")
    if device not in (None, "cpu", "cuda"):
        raise InputError(f"--device {quoted(device)}: with --engine ray give cpu or cuda; Ray chooses the GPU")
    if device == "cuda" and args.precision == "auto":
        raise InputError("--precision auto depends on the machine; with --engine ray name one, such as bfloat16")


def make_engine(args: argparse.Namespace, *, inside: bool = True) -> Engine:
    """Return the engine of the arguments of :func:`configure_engine`.

    Args:
        args: The arguments, with ``jobs`` set for the local engine.
        inside: As in :class:`~endofm.pool.LocalEngine`.

    Raises:
        MissingExtraError: If Ray is asked for and not installed.
    """
    if args.engine == "local":
        from endofm.pool import LocalEngine

        return LocalEngine(args.jobs, inside)
    from endofm.errors import require_extra
    from endofm.inference.ray_engine import RayEngine

    require_extra("ray", "ray", "Working on a Ray cluster (--engine ray)")
    on_gpu = getattr(args, "device", None) == "cuda"
    gpus, readers = getattr(args, "gpus_per_job", None), getattr(args, "readers", None)
    return RayEngine(
        jobs=args.jobs,
        threads=args.threads or 1,
        gpus=(1.0 if on_gpu else 0.0) if gpus is None else gpus,
        readers=(_READERS_OF_A_GPU if on_gpu else 0) if readers is None else readers,
        address=args.address,
        notify=lambda line: None if getattr(args, "quiet", False) else say(f"endofm: {line}", error=True),
    )
