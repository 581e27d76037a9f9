"""``endofm detect``: boxes of objects in videos and stills, as COCO JSON or CSV, or painted over the picture."""

from __future__ import annotations

import argparse
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

SUMMARY = "detect lesions in videos and stills: boxes as .json or .csv, or painted over the picture (.mp4, .png)"
EXAMPLES = (
    "endofm detect still.jpg -o boxes.png",
    "endofm detect recordings/ -o boxes/ --weights runs/boxes/export --paint",
)

SUFFIXES = (".json", ".csv", *PAINTED)
OVERLAY_SUFFIX = ".overlay.mp4"

PACKAGED_WEIGHTS = "endofm-nano-polyp-boxes"
"""Weights that are used without ``--weights``."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    configure_batch(
        parser, results="boxes", batch_size=2, unit="frames", single=SUFFIXES, default_weights=PACKAGED_WEIGHTS
    )
    parser.add_argument("--format", choices=("json", "csv"), default="json", help="output format (default: json)")
    parser.add_argument("--paint", action="store_true", help=f"also paint the boxes over each video ({OVERLAY_SUFFIX})")
    boxes = parser.add_argument_group("boxes")
    boxes.add_argument(
        "--min-score",
        type=float,
        metavar="S",
        help="smallest score of a box (default: as the weights specify, which suits painting; lower it to evaluate)",
    )
    boxes.add_argument(
        "--max-detections",
        type=int,
        metavar="N",
        help="boxes per frame, best first (default: as the weights specify)",
    )
    boxes.add_argument("--no-link", action="store_true", help="do not link boxes into tracks")
    frames = parser.add_argument_group("frames")
    frames.add_argument("--online", action="store_true", help="use earlier frames only, as with a live video")
    frames.add_argument(
        "--frame-stride", type=int, default=1, metavar="N", help="process every n-th frame (default: 1)"
    )


def run(args: argparse.Namespace) -> int:
    """Detect objects in the videos; the status is 1 if one of them failed."""
    items = collect_videos(args)
    files = single_outputs(args, items, SUFFIXES)
    require_still(files, items[0])
    take_default_weights(args, PACKAGED_WEIGHTS, "a small model in this package, of polyps in colonoscopy")
    loader = ModelLoader.from_arguments("detection", args)
    options = {
        "min_score": args.min_score,
        "max_detections": args.max_detections,
        "online": args.online,
        "frame_stride": args.frame_stride,
        "link": not args.no_link,
    }
    model = loader.load()
    if options["min_score"] is None:
        # The manifest records the number.
        options["min_score"] = model.head_config.min_score
    check_stream_options(model, options)
    trained = model.config.trained
    del model
    detector = Detector(
        loader=loader,
        options={**options, "batch_size": args.batch_size, "field_of_view": args.field_of_view},
        fps=args.fps,
        progress=not args.quiet and args.jobs == 1,
    )
    suffixes = (f".{args.format}", *([OVERLAY_SUFFIX] if args.paint else []))
    return run_task(args, items, files, detector, suffixes=suffixes, settings=options, trained=trained)


@dataclass(frozen=True)
class Detector(TaskWork):
    """Detects objects in one video."""

    results = counted = "boxes"

    def __call__(self, item: VideoItem, targets: tuple[Path, ...]) -> ItemResult:
        """Detect objects in one video and write its files; an ``.mp4`` or ``.png`` has the boxes painted over it."""
        from endofm.inference.job import ItemResult
        from endofm.video.open import open_video

        with open_video(item.path, fps=self.rate_of(item)) as source:
            result = self.loader.load().predict(source, progress=self.progress, **self.options)
            problems = list(result.problems)
            for target in targets:
                if target.suffix.lower() in PAINTED:
                    problems += result.paint(source, target, progress=self.progress).problems
                else:
                    result.save(target)
        counts = dict.fromkeys(result.label_names, 0)
        for frame in result:
            for label in frame.labels.tolist():
                counts[result.label_names[label]] += 1
        summary = {
            "frames": len(result),
            "frames_with_boxes": sum(len(frame) > 0 for frame in result),
            "boxes": result.num_boxes,
            "boxes_by_label": counts,
            "tracks": len(result.tracks()) if self.options["link"] else None,
        }
        return ItemResult(summary=summary, problems=tuple(dict.fromkeys(problems)))

    def describe(self, summary: Mapping[str, Any]) -> str:
        """Return the numbers of boxes, of frames with boxes, and of tracks."""
        boxes, tracks, frames = summary["boxes"], summary["tracks"], summary["frames"]
        linked = "" if tracks is None else f", {tracks} track{'s' * (tracks != 1)}"
        where = f"{summary['frames_with_boxes']} of {frames} frame{'s' * (frames != 1)}"
        return f"{boxes} box{'es' * (boxes != 1)} in {where}{linked}"
