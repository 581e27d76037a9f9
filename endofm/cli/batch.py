"""Commands that run a model over many videos: their arguments, their model, and the restartable job they start."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from endofm.address import Address, located
from endofm.cli.engine_arguments import check_engine, configure_engine, make_engine
from endofm.cli.model_arguments import configure_source, configure_weights, configure_work, report_precision
from endofm.cli.model_loader import ModelLoader, forget_models
from endofm.cli.printing import say

if TYPE_CHECKING:
    from endofm.inference.job import JobFolder, JobReport, SharedWork, Work
    from endofm.inference.job_plan import Sample
    from endofm.inference.video_paths import FoundVideos, VideoItem

_LEFT_OUT_SHOWN = 20


def configure_batch(
    parser: argparse.ArgumentParser,
    *,
    results: str,
    batch_size: int,
    unit: str,
    int8: bool = False,
    default_weights: str | None = None,
    several_weights: bool = False,
    single: Sequence[str] = (),
) -> argparse._ArgumentGroup:
    """Declare what every command over many videos takes: inputs, output folder, weights, work, jobs, overwriting.

    Args:
        parser: Parser of the command.
        results: What the command writes, such as ``"feature files"``.
        batch_size: Default of ``--batch-size``.
        unit: What ``--batch-size`` counts, such as ``"clips"``.
        int8: Offer this precision.
        default_weights: Weights that are used without ``--weights``; None makes the option required.
        several_weights: Take several weights at once.
        single: Suffixes of files that ``-o`` may name instead of a folder, for one video; see
            :mod:`endofm.cli.single_output`.

    Returns:
        The group of ``--device`` and ``--batch-size``, for further arguments of that kind.
    """
    parser.add_argument(
        "paths",
        nargs="*",
        metavar="PATH",
        help="video, still image, folder (searched with all folders below), folder of frames",
    )
    parser.add_argument(
        "--list",
        dest="lists",
        action="append",
        default=[],
        metavar="FILE",
        help="text file with one path per line, or a table with a column of paths",
    )
    files = f"; or, for one video or still, a file ({', '.join(single)}), may be repeated" if single else ""
    parser.add_argument(
        "-o",
        "--out",
        required=True,
        type=located,
        action="append" if single else "store",
        metavar="DIR",
        help=f"output folder of the {results}, or address (s3://){files}",
    )
    parser.set_defaults(file_outputs=tuple(single))
    configure_weights(parser, default=default_weights, several=several_weights)
    configure_source(parser)
    work = configure_work(parser, batch_size=batch_size, unit=unit, int8=int8)
    jobs = "videos at a time, each with its own model (default: 1; ray: as many as the cluster has room for)"
    configure_engine(parser, jobs=jobs, gpus=True)
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="print what the job would take, measured on the first video; write nothing",
    )
    parser.add_argument("--overwrite", action="store_true", help="start over, even with other settings")
    parser.add_argument("--quiet", action="store_true", help="no progress bars and no summary")
    return work


def collect_videos(args: argparse.Namespace) -> FoundVideos:
    """Return the videos of the arguments of :func:`configure_batch`, after checking its numbers.

    Raises:
        InputError: If there are none, a path does not exist, or a number is out of range.
    """
    from endofm.errors import InputError
    from endofm.inference.video_paths import find_videos, read_list

    items = find_videos(args.paths, (path for name in args.lists for path in read_list(name)))
    if not items:
        raise InputError("no videos given; name files or folders, or a list with --list")
    check_engine(args)
    if args.engine == "local" and args.jobs is None:
        args.jobs = 1
    if args.batch_size < 1:
        raise InputError(f"--batch-size must be at least 1, got {args.batch_size}")
    if args.fps is not None and not (math.isfinite(args.fps) and args.fps > 0):
        raise InputError(f"--fps must be a number > 0, got {args.fps:g}")
    return items


def take_default_weights(args: argparse.Namespace, weights: str, about: str) -> None:
    """Set ``args.weights`` if they were not given, and say so on the standard error, unless the command is quiet.

    Args:
        args: Arguments of :func:`configure_batch`.
        weights: Name of the default.
        about: What it is, after its name in a sentence.
    """
    if args.weights is None:
        args.weights = weights
        if not args.quiet:
            say(f"endofm: no --weights given, taking {weights}: {about}", error=True)


def run_batch(
    args: argparse.Namespace,
    items: FoundVideos,
    loader: ModelLoader,
    work: Work,
    *,
    suffixes: Sequence[str],
    settings: Mapping[str, Any],
) -> JobReport:
    """Run the job, and print notes about damaged videos and the reasons of failures.

    Args:
        args: Arguments of :func:`configure_batch`.
        items: Videos of :func:`collect_videos`.
        loader: Loader of the model. The caller has loaded it, so that wrong weights are one error and not one per
            video.
        work: Processes one video; see :func:`~endofm.inference.job.run_job`.
        suffixes: Suffixes of the files of one video.
        settings: Options of the task that the results depend on; those of the model are added.
    """
    from endofm.inference.job import work_for_one

    shared = partial(work_for_one, work=work)
    (report,) = run_shared_batch(args, items, {args.out: loader}, shared, suffixes=suffixes, settings=settings)
    return report


def run_shared_batch(
    args: argparse.Namespace,
    items: FoundVideos,
    loaders: Mapping[Path | Address, ModelLoader],
    work: SharedWork,
    *,
    suffixes: Sequence[str],
    settings: Mapping[str, Any],
) -> list[JobReport]:
    """Run one job that fills a folder for each of several models, and print notes and failures as :func:`run_batch`.

    Args:
        args: Arguments of :func:`configure_batch`.
        items: Videos of :func:`collect_videos`.
        loaders: Output folders and addresses with the loaders of their models, which the caller has loaded.
        work: Processes one video; see :func:`~endofm.inference.job.run_shared_job`.
        suffixes: Suffixes of the files of one video.
        settings: As for :func:`run_batch`.
    """
    from endofm.inference.job import run_shared_job
    from endofm.pool import cpu_threads
    from endofm.resume import manifest_name

    engine = make_engine(args)
    folders = _job_folders(args, loaders, suffixes, settings)
    if args.jobs != 1:
        # Each worker loads the models; this process no longer needs its copies.
        forget_models()
    with cpu_threads(next(iter(loaders.values())).threads):
        reports = run_shared_job(
            items,
            folders,
            work,
            engine=engine,
            left_out=items.left_out,
            overwrite=args.overwrite,
            progress=not args.quiet,
        )
    # A program that runs another command in this process loads its weights again: the files may have changed.
    forget_models()
    entries = [entry for report in reports for entry in report.entries]
    # What is wrong with a video is said once, however many models have met it.
    for note in dict.fromkeys(f"{entry.source}: {problem}" for entry in entries for problem in entry.problems):
        say(f"endofm: note: {note}", error=True)
    for error in dict.fromkeys(entry.error for entry in entries if entry.status == "failed"):
        say(f"endofm: failed: {error}", error=True)
    print_left_out(reports[0].left_out, str(folders[0].out / manifest_name(folders[0].out)))
    return reports


def _job_folders(
    args: argparse.Namespace,
    loaders: Mapping[Path | Address, ModelLoader],
    suffixes: Sequence[str],
    settings: Mapping[str, Any],
) -> list[JobFolder]:
    from endofm.inference.job import JobFolder
    from endofm.output_place import place_of

    folders = []
    for out, loader in loaders.items():
        report_precision(loader.load(), args)
        own = {**loader.settings(args), **settings}
        folders.append(JobFolder(out=place_of(out), suffixes=tuple(suffixes), settings=own))
    return folders


class SampledWork(Protocol):
    """Work whose cost can be measured."""

    def sample(self, item: VideoItem) -> Sample:
        """Return what a second of a video takes; nothing is written."""


def show_plan(
    args: argparse.Namespace,
    items: FoundVideos,
    loaders: Mapping[Path | Address, ModelLoader],
    work: SampledWork,
    *,
    suffixes: Sequence[str],
    settings: Mapping[str, Any],
) -> int:
    """Print what :func:`run_shared_batch` would take (``--dry-run``); returns the status of the command."""
    from endofm.files import free_bytes
    from endofm.inference.job import remaining_videos
    from endofm.inference.job_plan import plan_job
    from endofm.inference.video_task import DivisibleVideoWork
    from endofm.pool import cpu_threads

    engine = make_engine(args)
    folders = _job_folders(args, loaders, suffixes, settings)
    remaining = remaining_videos(items, folders, overwrite=args.overwrite)
    divided = args.engine == "ray" and isinstance(work, DivisibleVideoWork)
    with cpu_threads(next(iter(loaders.values())).threads):
        plan = plan_job(remaining, len(items) - len(remaining), work.sample, divided=divided)
    forget_models()
    out = next(iter(loaders))
    say(*plan.lines(engine.room(), free_bytes(out) if isinstance(out, Path) else None))
    print_left_out(items.left_out, "the manifest of the job")
    return 0


def print_left_out(left_out: Sequence[tuple[str, str]], where: str) -> None:
    """Name what was found beside the videos and not read, on the standard error.

    Args:
        left_out: Path and sentence for each.
        where: File that lists all of them.
    """
    for path, reason in left_out[:_LEFT_OUT_SHOWN]:
        say(f"endofm: left out: {path}: {reason}", error=True)
    if len(left_out) > _LEFT_OUT_SHOWN:
        rest = len(left_out) - _LEFT_OUT_SHOWN
        say(f"endofm: left out: {rest:,} more, listed in {where}", error=True)


def check_stream_options(model: Any, options: Mapping[str, Any]) -> None:
    """Raise an error for invalid options of ``model.stream`` before anything is written.

    Raises:
        InputError: If an option is not valid.
    """
    import numpy as np

    # A stream checks its options when it is built; a single black frame is enough for that.
    with model.stream(np.zeros((1, 64, 64, 3), np.uint8), **options):
        pass


def summarize(report: JobReport, out: Path | Address, total: str) -> str:
    """Return one line about a finished job.

    Args:
        report: Outcome of the job.
        out: Output folder or address.
        total: Amount of results, such as ``"24 clips"``.
    """
    from endofm.resume import manifest_name

    count, others = len(report.entries), len(report.left_out)
    left_out = f"; {others} other {'file or folder was' if others == 1 else 'files and folders were'} left out" * bool(
        others
    )
    retry = "; rerun the command to retry the failed ones" if report.failed else ""
    return (
        f"{count - len(report.failed)} of {count} videos in {out} ({report.skipped} of them done before), {total}; "
        f"details in {out / manifest_name(out)}{left_out}{retry}"
    )
