"""``endofm classify``: class probabilities of videos, over time and as a whole."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from endofm.cli.model_arguments import configure_work, load_for_work

SUMMARY = "classify videos: probabilities with times as JSON or CSV, one file per video"
EXAMPLES = ("endofm classify recordings/ -o results/ --weights runs/polyps/export",)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "paths", nargs="+", metavar="VIDEO", help="videos, folders (searched through), folders of frames"
    )
    parser.add_argument("-o", "--out", required=True, type=Path, metavar="DIR", help="folder for the results")
    parser.add_argument(
        "--weights", required=True, help="registry name, owner/repo[@revision], folder, .safetensors or .pth file"
    )
    parser.add_argument(
        "--window", type=float, metavar="SECONDS", help="length of a clip (default: as the weights say)"
    )
    parser.add_argument("--hop", type=float, metavar="SECONDS", help="step between clips (default: the length)")
    parser.add_argument("--fps", type=float, help="rate of folders of frames, which have no times (default: 30)")
    parser.add_argument(
        "--field-of-view",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="crop to the endoscope's image, leaving out borders and text panels (default: as the weights say)",
    )
    parser.add_argument("--format", choices=("json", "csv"), default="json", help="of the files (default: json)")
    parser.add_argument("--plot", action="store_true", help="draw each video's probabilities over time")
    configure_work(parser, batch_size=4, unit="clips")
    parser.add_argument("--quiet", action="store_true", help="no progress bars")


def run(args: argparse.Namespace) -> int:
    """Classify the videos; the status is 1 if one of them failed."""
    from endofm.errors import VideoError, require_extra
    from endofm.inference.video_paths import find_videos
    from endofm.tasks.classification.model import EndoFMForVideoClassification
    from endofm.video.open import open_video

    if args.plot:
        require_extra("matplotlib", "viz", "Drawing probabilities (--plot)")
    items = find_videos(args.paths)
    model = load_for_work(EndoFMForVideoClassification, args)
    failed = 0
    for item in items:
        try:
            with open_video(item.path, fps=args.fps if item.path.is_dir() else None) as source:
                result = model.predict(
                    source,
                    window_seconds=args.window,
                    hop_seconds=args.hop,
                    batch_size=args.batch_size,
                    field_of_view=args.field_of_view,
                    progress=not args.quiet,
                )
        except VideoError as error:
            failed += 1
            print(f"endofm: failed: {error}", file=sys.stderr)
            continue
        target = result.save(args.out / f"{item.output}.{args.format}")
        if args.plot:
            from endofm.visualize.classification import plot_classification

            plot_classification(result, args.out / f"{item.output}.png")
        for problem in result.problems:
            print(f"endofm: note: {item.path}: {problem}", file=sys.stderr)
        shares = ", ".join(
            f"{label} {p:.3f}" for label, p in zip(result.labels, result.video_probabilities, strict=True)
        )
        print(f"{item.path}: {' + '.join(result.predicted_labels) or 'no label'} ({shares}) -> {target}")
    if not model.config.trained:
        print("The classifier was not trained: these probabilities mean nothing.")
    print("Research software: no result is medical advice.")
    return int(bool(failed))
