"""Commands that run a model over many videos: their arguments, their model, and the restartable job they start."""

from __future__ import annotations

import argparse
import math
import multiprocessing
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from endofm.address import Address, located
from endofm.cli.model_arguments import configure_source, configure_weights, configure_work, report_precision
from endofm.cli.printing import say

if TYPE_CHECKING:
    from endofm.inference.job import JobReport, SharedWork, Work
    from endofm.inference.video_paths import FoundVideos
    from endofm.models.pretrained import Pretrained

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
    work.add_argument("--jobs", type=int, default=1, metavar="N", help="videos at a time, each with its own model")
    work.add_argument("--threads", type=int, metavar="N", help="CPU threads per model (default: cores / jobs)")
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
    for name in ("jobs", "threads", "batch_size"):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise InputError(f"--{name.replace('_', '-')} must be at least 1, got {value}")
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


@dataclass(frozen=True, kw_only=True)
class ModelLoader:
    """Settings from which each process loads its model once; picklable, unlike the model.

    Attributes:
        task: Name of the task, which chooses the model class.
        weights: As for :meth:`~endofm.models.pretrained.Pretrained.from_pretrained`.
        local_files_only: Never use the network.
        device: Device of the model.
        precision: Precision of its inference, or ``"auto"``.
        threads: CPU threads.
    """

    task: str
    weights: str
    local_files_only: bool
    device: str | None
    precision: Any
    threads: int

    @classmethod
    def from_arguments(cls, task: str, args: argparse.Namespace) -> ModelLoader:
        """Return the loader that the arguments of :func:`configure_batch` describe."""
        return cls.for_weights(task, args.weights, args)

    @classmethod
    def for_weights(cls, task: str, weights: str, args: argparse.Namespace) -> ModelLoader:
        """Return the loader of some weights, with the other arguments of :func:`configure_batch`."""
        import torch

        return cls(
            task=task,
            weights=weights,
            local_files_only=args.local_files_only,
            device=args.device,
            precision=args.precision,
            threads=args.threads or max(torch.get_num_threads() // args.jobs, 1),
        )

    def load(self) -> Any:
        """Return the model, which the first call in a process loads."""
        return _load(self)


@cache
def _load(loader: ModelLoader) -> Pretrained:
    import torch

    from endofm.errors import EndoFMWarning
    from endofm.models.auto import model_class

    # Of a worker process; that of the command is not the command's alone and gets its number back (`cpu_threads`).
    if multiprocessing.parent_process() is not None:
        torch.set_num_threads(loader.threads)
    with warnings.catch_warnings():
        if multiprocessing.parent_process() is not None:
            # The main process has loaded the same weights and warned; once is enough.
            warnings.simplefilter("ignore", EndoFMWarning)
        return model_class(loader.task).from_pretrained(
            loader.weights,
            local_files_only=loader.local_files_only,
            device=loader.device,
            precision=loader.precision,
        )


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
    from endofm.inference.job import JobFolder, run_shared_job
    from endofm.output_place import place_of
    from endofm.pool import cpu_threads
    from endofm.resume import manifest_name

    folders = []
    for out, loader in loaders.items():
        model = loader.load()
        report_precision(model, args)
        own = {**_model_settings(model, loader, args), **settings}
        folders.append(JobFolder(out=place_of(out), suffixes=tuple(suffixes), settings=own))
        del model
    if args.jobs > 1:
        # Each worker loads the models; this process no longer needs its copies.
        _load.cache_clear()
    with cpu_threads(next(iter(loaders.values())).threads):
        reports = run_shared_job(
            items,
            folders,
            work,
            jobs=args.jobs,
            left_out=items.left_out,
            overwrite=args.overwrite,
            progress=not args.quiet,
        )
    # A program that runs another command in this process loads its weights again: the files may have changed.
    _load.cache_clear()
    entries = [entry for report in reports for entry in report.entries]
    # What is wrong with a video is said once, however many models have met it.
    for note in dict.fromkeys(f"{entry.source}: {problem}" for entry in entries for problem in entry.problems):
        say(f"endofm: note: {note}", error=True)
    for error in dict.fromkeys(entry.error for entry in entries if entry.status == "failed"):
        say(f"endofm: failed: {error}", error=True)
    print_left_out(reports[0].left_out, str(folders[0].out / manifest_name(folders[0].out)))
    return reports


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


def _model_settings(model: Pretrained, loader: ModelLoader, args: argparse.Namespace) -> dict[str, Any]:
    config = model.config
    return {
        "task": model.task,
        "weights": config.name or Path(loader.weights).name,
        "weights_sha256": model.provenance.get("sha256", ""),
        "field_of_view": args.field_of_view,
        "fps": args.fps,
        "precision": model.precision,
        "preprocess": asdict(config.preprocess),
    }
