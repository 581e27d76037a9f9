"""``endofm evaluate segmentation``: scores of a segmentation model on clips with masks."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from endofm.cli.evaluate import configure_report
from endofm.cli.model_arguments import configure_weights, configure_work, load_for_work

SUMMARY = "score a segmentation model or saved masks: Dice, IoU, boundary distance, missed and false frames"
EXAMPLES = (
    "endofm evaluate segmentation prepared/cvc-12k#test --weights runs/masks/export -o report/",
    "endofm evaluate segmentation test.csv --predictions masks/ -o report/",
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "clips",
        nargs="+",
        metavar="LIST",
        help="CSV file (columns frames,masks,patient), or prepared set[#list]",
    )
    configure_weights(parser, default="none; --predictions in their place")
    parser.add_argument(
        "--predictions", metavar="DIR", help="score the masks that `endofm segment -o DIR` has saved; no model is run"
    )
    configure_report(parser, resamples=1000, files="clips.csv and the worst frames")
    parser.add_argument("--root", metavar="DIR", help="folder that the lists' paths are relative to")
    parser.add_argument(
        "--split", choices=("train", "val", "test"), default="test", help="list of a prepared set (default: test)"
    )
    parser.add_argument(
        "--masks",
        choices=("bright", "white", "classes"),
        default="bright",
        help="meaning of mask values: class 1 above 127 (default), class 1 at 255 only, or the index of the class",
    )
    parser.add_argument(
        "--at", choices=("frame", "network"), default="frame", help="size at which masks are compared (default: frame)"
    )
    parser.add_argument("--worst", type=int, default=12, metavar="N", help="frames on the contact sheet (default: 12)")
    windows = parser.add_argument_group("windows")
    windows.add_argument(
        "--num-frames", type=int, metavar="N", help="frames that the model sees together (default: as the weights say)"
    )
    windows.add_argument("--overlap", type=int, default=2, metavar="N", help="frames that windows share (default: 2)")
    configure_work(parser)


def run(args: argparse.Namespace) -> int:
    """Evaluate and print the table."""
    from endofm.data.segmentation.masked_clips import read_list
    from endofm.errors import InputError, require_extra

    require_extra("torchmetrics", "train", "Evaluating a segmentation model")
    from endofm.evaluation.bootstrap import BootstrapSettings
    from endofm.evaluation.segmentation_report import SegmentationReport
    from endofm.evaluation.worst_frames import WorstFrames

    clips = [clip for source in args.clips for clip in read_list(source, part=args.split, root=args.root)]
    intervals = BootstrapSettings(resamples=args.resamples)
    if (args.weights is None) == (args.predictions is None):
        raise InputError("give --weights for a model, or --predictions for saved masks")
    if args.worst < 0:
        raise InputError(f"--worst must be at least 0, got {args.worst}")
    notes: list[str] = []
    worst = WorstFrames(args.worst)
    scored = _saved if args.predictions is not None else _model
    scores, labels, settings = scored(args, clips, worst, notes)
    report = SegmentationReport.of(scores, labels, settings=settings, notes=notes, bootstrap=intervals, worst=worst)
    if args.out is not None:
        report.save(args.out)
    print(report.summary())
    return 0


def _saved(args: argparse.Namespace, clips: Any, worst: Any, notes: list[str]) -> tuple[Any, tuple[str, ...], Any]:
    from endofm.errors import InputError
    from endofm.evaluation.run_segmenter import score_clips
    from endofm.evaluation.saved_masks import SavedMasks

    if args.at != "frame":
        raise InputError("--at network compares what a model computes; saved masks have the size of the frames")
    saved = SavedMasks(args.predictions)
    scores = score_clips(clips, saved.predict, len(saved.labels), mask_rule=args.masks, worst=worst, notes=notes)
    weights = saved.provenance.get("weights", {})
    settings = {
        "predictions": Path(args.predictions).name,
        "weights": weights.get("config", {}).get("name", ""),
        "weights_sha256": weights.get("sha256", ""),
        "masks": args.masks,
        "at": args.at,
        "precision": saved.provenance.get("precision", ""),
    }
    return scores, saved.labels, settings


def _model(args: argparse.Namespace, clips: Any, worst: Any, notes: list[str]) -> tuple[Any, tuple[str, ...], Any]:
    from endofm.errors import InputError
    from endofm.evaluation.run_segmenter import run_segmenter
    from endofm.tasks.segmentation.model import EndoFMForSegmentation

    model = load_for_work(EndoFMForSegmentation, args)
    num_frames = args.num_frames or model.config.preprocess.num_frames
    # The default overlap does not fit windows of one or two frames.
    overlap = min(args.overlap, num_frames - 1)
    if overlap < 0:
        raise InputError(f"--overlap must be at least 0, got {args.overlap}")
    scores = run_segmenter(
        model,
        clips,
        mask_rule=args.masks,
        size=args.at,
        num_frames=num_frames,
        overlap=overlap,
        worst=worst,
        notes=notes,
    )
    if not model.config.trained:
        notes.append("The model was not trained: this shows what chance gives.")
    settings = {
        "weights": model.config.name or Path(args.weights).name,
        "weights_sha256": model.provenance.get("sha256", ""),
        "masks": args.masks,
        "at": args.at,
        "num_frames": num_frames,
        "overlap": overlap,
        "precision": model.precision,
    }
    return scores, model.labels, settings
