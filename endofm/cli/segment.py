"""``endofm segment``: masks of videos and stills, as files or painted over the picture."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from endofm.cli.batch import (
    check_stream_options,
    collect_videos,
    configure_batch,
    take_default_weights,
)
from endofm.cli.model_loader import ModelLoader
from endofm.cli.single_output import PAINTED, require_still, single_outputs
from endofm.cli.task_command import TaskWork, run_task

if TYPE_CHECKING:
    from endofm.inference.job import ItemResult
    from endofm.inference.video_paths import VideoItem

SUMMARY = "segment videos and stills: masks as COCO run lengths (.json), PNG files, or painted over (.mp4, .png)"
EXAMPLES = (
    "endofm segment still.jpg -o masks.png",
    "endofm segment recordings/ -o masks/ --weights runs/masks/export --paint",
)

SUFFIXES = (".json", ".masks", *PAINTED)
OVERLAY_SUFFIX = ".overlay.mp4"
_FORMATS = {"json": ".json", "png": ".masks"}

PACKAGED_WEIGHTS = "endofm-nano-polyp-masks"
"""Weights that are used without ``--weights``."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    configure_batch(
        parser, results="masks", batch_size=1, unit="windows", single=SUFFIXES, default_weights=PACKAGED_WEIGHTS
    )
    parser.add_argument(
        "--format",
        choices=tuple(_FORMATS),
        default="json",
        help="json (default): COCO run lengths; png: a folder of indexed PNG files per video (.masks)",
    )
    parser.add_argument("--paint", action="store_true", help=f"also paint the masks over each video ({OVERLAY_SUFFIX})")
    parser.add_argument(
        "--opacity", type=float, default=0.4, metavar="FRACTION", help="of the colour inside masks (default: 0.4)"
    )
    windows = parser.add_argument_group("windows")
    windows.add_argument(
        "--num-frames", type=int, metavar="N", help="frames per window (default: as the weights specify)"
    )
    windows.add_argument(
        "--overlap", type=int, metavar="N", help="frames that windows share, blended (default: a quarter of a window)"
    )
    windows.add_argument(
        "--frame-stride", type=int, default=1, metavar="N", help="segment every n-th frame (default: 1)"
    )


def run(args: argparse.Namespace) -> int:
    """Segment the videos; the status is 1 if one of them failed."""
    from endofm.tasks.segmentation.mask_painting import require_opacity

    items = collect_videos(args)
    files = single_outputs(args, items, SUFFIXES)
    require_still(files, items[0])
    take_default_weights(args, PACKAGED_WEIGHTS, "a small model in this package, of polyps in colonoscopy")
    require_opacity(args.opacity)
    loader = ModelLoader.from_arguments("segmentation", args)
    options = {"num_frames": args.num_frames, "overlap": args.overlap, "frame_stride": args.frame_stride}
    model = loader.load()
    check_stream_options(model, options)
    trained = model.config.trained
    del model
    segmenter = Segmenter(
        loader=loader,
        options={**options, "batch_size": args.batch_size, "field_of_view": args.field_of_view},
        fps=args.fps,
        opacity=args.opacity,
        progress=not args.quiet and args.jobs == 1,
    )
    suffixes = (_FORMATS[args.format], *([OVERLAY_SUFFIX] if args.paint else []))
    settings = {**options, "opacity": args.opacity} if args.paint else options
    return run_task(args, items, files, segmenter, suffixes=suffixes, settings=settings, trained=trained)


@dataclass(frozen=True)
class Segmenter(TaskWork):
    """Segments one video.

    Attributes:
        opacity: Fraction of the class colour inside painted masks.
    """

    opacity: float

    results, counted = "masks", "frames"

    def __call__(self, item: VideoItem, targets: tuple[Path, ...]) -> ItemResult:
        """Segment one video and write its files; an ``.mp4`` or ``.png`` has the masks painted over it."""
        from endofm.inference.job import ItemResult
        from endofm.video.open import open_video

        with open_video(item.path, fps=self.rate_of(item)) as source:
            masks = self.loader.load().predict(source, progress=self.progress, **self.options)
            problems = list(masks.problems)
            for target in targets:
                if target.suffix.lower() in PAINTED:
                    report = masks.paint(source, target, opacity=self.opacity, progress=self.progress)
                    problems += report.problems
                    continue
                if target.is_dir():
                    # Masks of an earlier run: of a changed source, or replaced with --overwrite.
                    shutil.rmtree(target)
                masks.save(target)
        # Frames that contain each class; the background is in nearly all of them and would say nothing about the video.
        frames_by_label = {
            label: sum(index in packed.runs for packed in masks.packed)
            for index, label in enumerate(masks.labels)
            if index
        }
        summary = {"frames": len(masks), "frames_by_label": frames_by_label}
        return ItemResult(summary=summary, problems=tuple(dict.fromkeys(problems)))

    def describe(self, summary: Mapping[str, Any]) -> str:
        """Return the number of frames, and in how many of them each class was found."""
        found = ", ".join(f"{label} in {count}" for label, count in summary["frames_by_label"].items())
        frames = summary["frames"]
        return f"{frames} frame{'s' * (frames != 1)} ({found})"
