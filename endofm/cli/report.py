"""``endofm report``: a self-contained page per procedure, and a page of all of them."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from endofm.address import Address, local_copy, located
from endofm.cli.batch import (
    collect_videos,
    configure_batch,
    run_batch,
    show_plan,
    summarize,
    take_default_weights,
)
from endofm.cli.model_arguments import configure_windows
from endofm.cli.model_loader import ModelLoader
from endofm.cli.printing import say
from endofm.disclaimer import DISCLAIMER

if TYPE_CHECKING:
    from endofm.inference.job import ItemResult
    from endofm.inference.job_plan import Sample
    from endofm.inference.video_paths import VideoItem
    from endofm.report.contents import ProcedureReport
    from endofm.report.saved_results import SavedPredictions
    from endofm.report.task_sections import FrameExaminer, TaskSection
    from endofm.tasks.features.results import VideoFeatures
    from endofm.video.frames import VideoSource

SUMMARY = "write a page per procedure that opens in any browser: timeline, segments, key frames, findings; restartable"
EXAMPLES = (
    "endofm report procedure.mp4 -o reports/",
    "endofm report recordings/ -o reports/ --detect endofm-nano-polyp-boxes --classify endofm-nano-organs",
    "endofm report features/ -o reports/ --segment masks/",
)

PACKAGED_WEIGHTS = "endofm-nano-4x96"
SUFFIX = ".report.html"
INDEX = "index.html"

TASKS = {"classify": "classification", "segment": "segmentation", "detect": "detection"}
"""Task of each option that takes weights or saved results."""

_CLIPS = 120
"""Clips that short videos are divided into, by overlapping windows."""

_WINDOWS = 20
"""Windows without overlap that short videos are divided into at least."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    configure_batch(parser, results="reports", batch_size=4, unit="clips", int8=True, default_weights=PACKAGED_WEIGHTS)
    configure_windows(parser)
    tasks = parser.add_argument_group("task models")
    for option, task in TASKS.items():
        tasks.add_argument(
            f"--{option}",
            metavar="WEIGHTS",
            help=f"show {task}, by weights or from a folder that `endofm {option}` has written (.json)",
        )
    parser.add_argument(
        "--no-links",
        action="store_true",
        help="no links to the videos, which hold their paths relative to the reports: for reports that are sent away",
    )


def run(args: argparse.Namespace) -> int:
    """Write the reports; the status is 1 if one of the videos failed."""
    from endofm.errors import require_extra
    from endofm.inference.job_manifest import read_entries
    from endofm.report.page import chart_library
    from endofm.report.saved_results import require_distinct, split_saved_features
    from endofm.video.clip_windows import WindowSettings

    saved = split_saved_features(args.paths)
    # Feature files are found like videos, and then have the names of the videos that they are of.
    args.paths = [*saved.others, *saved.names]
    items = collect_videos(args)
    items[:] = [replace(item, output=saved.names.get(item.path, item.output)) for item in items]
    require_distinct(items)
    take_default_weights(args, PACKAGED_WEIGHTS, "a small encoder in this package")
    for package in ("jinja2", "ruptures"):
        require_extra(package, "report", "Writing reports")
    chart_library()
    windows = {name: getattr(args, name) for name in ("window_seconds", "hop_seconds", "frame_stride", "hop_frames")}
    loader = ModelLoader.from_arguments("features", args)
    model = loader.load()
    WindowSettings.for_preprocess(model.config.preprocess, **windows)
    del model
    tasks = {task: _task(task, getattr(args, option), args) for option, task in TASKS.items() if getattr(args, option)}
    writer = ReportWriter(
        loader=loader,
        tasks=tasks,
        windows=windows,
        options={"batch_size": args.batch_size, "field_of_view": args.field_of_view},
        fps=args.fps,
        links=not args.no_links,
        local=isinstance(args.out, Path),
        videos=saved.videos,
        progress=not args.quiet and args.jobs == 1,
    )
    settings = {**windows, "links": not args.no_links, **{task: _identity(one) for task, one in tasks.items()}}
    if args.dry_run:
        return show_plan(args, items, {args.out: loader}, writer, suffixes=(SUFFIX,), settings=settings)
    report = run_batch(args, items, loader, writer, suffixes=(SUFFIX,), settings=settings)
    index = write_index(args.out, read_entries(args.out, failed=True), report.left_out)
    if not args.quiet:
        seconds = sum(entry.summary.get("seconds", 0.0) for entry in report.entries)
        say(summarize(report, args.out, f"{seconds / 60:.1f} minutes of video"), _where(index))
        print(DISCLAIMER)
    return int(bool(report.failed))


def _where(index: Path | Address) -> str:
    return f"open {index} in a browser" if isinstance(index, Path) else f"the pages begin with {index}"


def _task(task: str, value: str, args: argparse.Namespace) -> ModelLoader | SavedPredictions:
    """Return the loader of a task's weights, which have been loaded once, or its saved predictions."""
    from endofm.report.saved_results import SavedPredictions, has_results

    if has_results(located(value)):
        return SavedPredictions.open(located(value))
    loader = ModelLoader.for_weights(task, value, args)
    loader.load()
    return loader


def _identity(task: ModelLoader | SavedPredictions) -> str:
    """Return what the manifest records of a task: the checksum of its weights, or the folder of its predictions."""
    if isinstance(task, ModelLoader):
        return str(task.load().provenance.get("sha256") or task.weights)
    return str(task.folder)


@dataclass(frozen=True)
class ReportWriter:
    """Picklable work on one procedure; each process loads the models once.

    Attributes:
        loader: Loader of the encoder.
        tasks: By name of the task, the loader of its model or its saved predictions.
        windows: Window options of the command.
        options: Further arguments of the extraction.
        fps: Frame rate of folders of frames.
        links: Link times to the video.
        local: The pages are files of this machine, from which a link can lead to another file.
        videos: Videos of saved feature files.
        progress: Show a progress bar over the clips.
    """

    loader: ModelLoader
    tasks: Mapping[str, ModelLoader | SavedPredictions]
    windows: Mapping[str, Any]
    options: Mapping[str, Any]
    fps: float | None
    links: bool
    local: bool
    videos: Mapping[str, str]
    progress: bool

    def sample(self, item: VideoItem) -> Sample:
        """Return what a second of a video takes: the encoder and the task models; pages take little."""
        from endofm.inference.job_plan import Sample, measure

        models = [loader.load() for loader in self.tasks.values() if isinstance(loader, ModelLoader)]
        stream = self.loader.load().stream_features(item.path, fps=self.fps, **self.windows, **self.options)
        with stream:
            seconds = measure(iter(stream)).seconds
        for model in models:
            with model.stream(item.path, fps=self.fps) as found:
                seconds += measure(iter(found)).seconds
        return Sample(seconds)

    def __call__(self, item: VideoItem, targets: tuple[Path, ...]) -> ItemResult:
        """Write the page of one procedure."""
        from endofm.files import write_text
        from endofm.inference.job import ItemResult
        from endofm.report.page import relative_link, render_procedure
        from endofm.report.saved_results import names_features, video_of
        from endofm.tasks.features.results import VideoFeatures
        from endofm.video.open import open_video

        features: VideoFeatures | None = None
        video: Path | Address | None = item.path
        if names_features(item.path):
            features = VideoFeatures.load(item.path)
            video = video_of(item.path, features, self.videos)
        fps = self.fps if video is not None and video.is_dir() else None
        with open_video(video, fps=fps) if video is not None else nullcontext() as source:
            report = self._report(item, video, source, features)
        (target,) = targets
        # A folder of frames has no time that a link could lead to.
        linked = self.links and video is not None and video.is_file()
        link = relative_link(video, target) if linked and self.local and isinstance(video, Path) else None
        depth = len(Path(item.output).parts) - 1
        page = render_procedure(report, video=link, unlinked=linked and link is None, index="../" * depth + INDEX)
        write_text(target, page)
        summary = {
            "seconds": report.end_seconds,
            "clips": len(report.features),
            "segments": len(report.segments),
            "results": [section.brief for section in report.sections],
        }
        return ItemResult(summary=summary, problems=report.problems)

    def _report(
        self, item: VideoItem, video: Path | Address | None, source: VideoSource | None, features: VideoFeatures | None
    ) -> ProcedureReport:
        from endofm.report.contents import build_report

        encoder = self.loader.load()
        if features is None:
            assert source is not None
            windows = self._windows(source, encoder.config.preprocess.window_seconds)
            features = encoder.extract_features(source, progress=self.progress, **windows, **self.options)
        else:
            # The encoder's view is that of the encoder of these features, or of none.
            weights = features.provenance.get("weights") or {}
            same = weights.get("sha256") and weights["sha256"] == encoder.provenance.get("sha256")
            encoder = encoder if same else None
        name = str((features.provenance.get("video") or {}).get("name") or item.path.name)
        examiners, sections = self._findings(video, source)
        return build_report(features, source, name=name, encoder=encoder, examiners=examiners, sections=sections)

    def _windows(self, source: VideoSource, window: float) -> dict[str, Any]:
        """Return the windows: those that were asked for, or shorter and overlapping ones where the video is short."""
        end = float(source.end_seconds())
        if any(value is not None for value in self.windows.values()) or end >= _CLIPS * window or end <= 0:
            return dict(self.windows)
        length = min(window, max(end / _WINDOWS, 0.5))
        return {"window_seconds": length, "hop_seconds": max(end / _CLIPS, length / 4)}

    def _findings(
        self, video: Path | Address | None, source: VideoSource | None
    ) -> tuple[list[FrameExaminer], list[TaskSection]]:
        """Return the tasks that look at frames, and the sections of classifiers."""
        from endofm.report import task_sections
        from endofm.tasks.classification.results import VideoClassification
        from endofm.tasks.detection.results import VideoDetections
        from endofm.tasks.segmentation.results import VideoMasks

        examiners, sections = [], []
        for task, origin in self.tasks.items():
            model = origin.load() if isinstance(origin, ModelLoader) else None
            file = None if model is not None or video is None else origin.find(video)  # type: ignore[union-attr]
            if source is None or (model is None and file is None):
                continue
            with local_copy(file) if file else nullcontext() as saved:
                if task == "classification":
                    result = VideoClassification.load(saved) if saved else model.predict(source, progress=False)  # type: ignore[union-attr]
                    sections.append(task_sections.classification_section(result))
                elif task == "detection":
                    boxes = VideoDetections.load(saved) if saved else None
                    examiners.append(task_sections.detection_examiner(model, boxes))
                else:
                    masks = VideoMasks.load(saved) if saved else None
                    examiners.append(task_sections.segmentation_examiner(model, masks))
        return examiners, sections


def write_index(out: Path | Address, entries: Any, left_out: Any) -> Path | Address:
    """Write the page of all procedures of a folder or address; returns where it is.

    Args:
        out: The folder or address.
        entries: Rows of its manifest, failures included.
        left_out: Path and sentence for what was found and is none of the videos.
    """
    from endofm.output_place import place_of
    from endofm.report.page import read_icon, render_index

    rows, place = [], place_of(out)
    pages = place.existing(entry.output for entry in entries if entry.status == "done")
    for entry in entries:
        there = entry.output in pages
        rows.append(
            {
                "name": entry.output.removesuffix(SUFFIX),
                "href": "./" + quote(os.fsencode(entry.output)) if there else "",
                "icon": read_icon(place, entry.output) if there else "",
                "seconds": entry.summary.get("seconds", 0.0),
                "segments": entry.summary.get("segments", 0),
                "results": entry.summary.get("results", []),
                "problems": entry.problems,
                "error": entry.error,
            }
        )
    place.write(INDEX, render_index(rows, left_out))
    return out / INDEX
