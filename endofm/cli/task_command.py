"""The common parts of ``endofm classify``, ``segment`` and ``detect``: work on a video, and the command around it."""

from __future__ import annotations

import argparse
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from endofm.cli.batch import run_batch, show_plan, summarize
from endofm.cli.model_loader import ModelLoader
from endofm.cli.printing import say
from endofm.cli.single_output import run_single
from endofm.disclaimer import DISCLAIMER

if TYPE_CHECKING:
    from endofm.address import Address
    from endofm.inference.job import ItemResult
    from endofm.inference.job_plan import Sample
    from endofm.inference.video_paths import FoundVideos, VideoItem


@dataclass(frozen=True)
class TaskWork(ABC):
    """Picklable work on one video; each process loads the model once.

    Attributes:
        loader: Loader of the model.
        options: Options of the model's ``stream``.
        fps: Frame rate of folders of frames.
        progress: Show progress bars over the frames.
    """

    loader: ModelLoader
    options: dict[str, Any]
    fps: float | None
    progress: bool

    results: ClassVar[str]
    """Results in the plural, as a user calls them."""

    counted: ClassVar[str]
    """Number in the summary of a video that is added up over all of them."""

    names_videos: ClassVar[bool] = False
    """Print a line for each video of a job."""

    @abstractmethod
    def __call__(self, item: VideoItem, targets: tuple[Path, ...]) -> ItemResult:
        """Process one video and write its files."""

    @abstractmethod
    def describe(self, summary: Mapping[str, Any]) -> str:
        """Return the summary of a video in a few words."""

    def sample(self, item: VideoItem) -> Sample:
        """Return what a second of a video takes."""
        from endofm.inference.job_plan import measure

        with self.loader.load().stream(item.path, fps=self.rate_of(item), **self.options) as stream:
            return measure(iter(stream))

    def rate_of(self, item: VideoItem) -> float | None:
        """Return the frame rate to read a video with: files have their own, and folders of frames do not."""
        return self.fps if item.path.is_dir() else None


def run_task(
    args: argparse.Namespace,
    items: FoundVideos,
    files: tuple[Path | Address, ...],
    work: TaskWork,
    *,
    suffixes: Sequence[str],
    settings: Mapping[str, Any],
    trained: bool,
) -> int:
    """Process the videos, or plan it, and print what came out.

    Args:
        args: Arguments of :func:`~endofm.cli.batch.configure_batch`.
        items: The videos.
        files: Files for the results of a single video; none if ``args.out`` is a folder or an address.
        work: Processes one video. Its model has been loaded, so that wrong weights are one error.
        suffixes: Suffixes of the files of one video in the folder.
        settings: Options of the task that the results depend on.
        trained: False if the weights are random.

    Returns:
        Status of the command: 1 if a video failed.
    """
    failed = False
    if files:
        summary = run_single(args, items[0], work.loader, work, files).summary
        lines = [f"{items[0].path}: {work.describe(summary)}; written to {', '.join(map(str, files))}"]
    else:
        if args.dry_run:
            return show_plan(args, items, {args.out: work.loader}, work, suffixes=suffixes, settings=settings)
        report = run_batch(args, items, work.loader, work, suffixes=suffixes, settings=settings)
        done = [entry for entry in report.entries if entry.status == "done"]
        lines = [f"{entry.source}: {work.describe(entry.summary)}" for entry in done] if work.names_videos else []
        total = sum(entry.summary.get(work.counted, 0) for entry in done)
        lines.append(summarize(report, args.out, f"{total} {work.counted}"))
        failed = bool(report.failed)
    if not args.quiet:
        say(*lines)
        if not trained:
            print(f"The weights are random: these {work.results} mean nothing.")
        print(DISCLAIMER)
    return int(failed)
