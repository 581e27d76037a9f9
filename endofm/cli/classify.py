"""``endofm classify``: class probabilities of videos, over time and as a whole."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from endofm.cli.batch import collect_videos, configure_batch, take_default_weights
from endofm.cli.model_arguments import configure_windows
from endofm.cli.model_loader import ModelLoader
from endofm.cli.single_output import single_outputs
from endofm.cli.task_command import TaskWork, run_task

if TYPE_CHECKING:
    from endofm.inference.job import ItemResult
    from endofm.inference.video_paths import VideoItem

SUMMARY = "classify videos: probabilities with times as JSON or CSV, one file per video, restartable"
EXAMPLES = (
    "endofm classify still.jpg -o organ.json",
    "endofm classify recordings/ -o results/ --weights runs/mine/export --plot",
)

SUFFIXES = (".json", ".csv", ".png")

PACKAGED_WEIGHTS = "endofm-nano-organs"
"""Weights that are used without ``--weights``."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    configure_batch(
        parser,
        results="class probabilities",
        batch_size=4,
        unit="clips",
        single=SUFFIXES,
        default_weights=PACKAGED_WEIGHTS,
    )
    configure_windows(parser)
    parser.add_argument("--format", choices=("json", "csv"), default="json", help="output format (default: json)")
    parser.add_argument("--plot", action="store_true", help="draw each video's probabilities over time (.png)")


def run(args: argparse.Namespace) -> int:
    """Classify the videos; the status is 1 if one of them failed."""
    from endofm.errors import require_extra
    from endofm.video.clip_windows import WindowSettings

    items = collect_videos(args)
    files = single_outputs(args, items, SUFFIXES)
    take_default_weights(args, PACKAGED_WEIGHTS, "a small model in this package, of colon, larynx and abdomen")
    if args.plot or any(file.suffix.lower() == ".png" for file in files):
        require_extra("matplotlib", "viz", "Drawing class probabilities")
    options = {name: getattr(args, name) for name in ("window_seconds", "hop_seconds", "frame_stride", "hop_frames")}
    loader = ModelLoader.from_arguments("classification", args)
    model = loader.load()
    WindowSettings.for_preprocess(model.config.preprocess, **options)
    trained = model.config.trained
    del model
    classifier = Classifier(
        loader=loader,
        options={**options, "batch_size": args.batch_size, "field_of_view": args.field_of_view},
        fps=args.fps,
        progress=not args.quiet and args.jobs == 1,
    )
    suffixes = (f".{args.format}", *([f".{args.format}.png"] if args.plot else []))
    return run_task(args, items, files, classifier, suffixes=suffixes, settings=options, trained=trained)


@dataclass(frozen=True)
class Classifier(TaskWork):
    """Classifies one video."""

    results, counted, names_videos = "probabilities", "clips", True

    def __call__(self, item: VideoItem, targets: tuple[Path, ...]) -> ItemResult:
        """Classify one video and write its files; a ``.png`` is a drawing."""
        from endofm.inference.job import ItemResult

        result = self.loader.load().predict(item.path, fps=self.rate_of(item), progress=self.progress, **self.options)
        for target in targets:
            if target.suffix.lower() == ".png":
                from endofm.visualize.classification import plot_classification

                plot_classification(result, target)
            else:
                result.save(target)
        summary = {
            "clips": len(result),
            "seconds": float(result.end_seconds[-1]),
            "predicted": list(result.predicted_labels),
            "probabilities": dict(zip(result.labels, result.video_probabilities.tolist(), strict=True)),
        }
        return ItemResult(summary=summary, problems=result.problems)

    def describe(self, summary: Mapping[str, Any]) -> str:
        """Return the predicted labels and all probabilities."""
        probabilities = ", ".join(f"{label} {value:.3f}" for label, value in summary["probabilities"].items())
        return f"{' + '.join(summary['predicted']) or 'no label'} ({probabilities})"
