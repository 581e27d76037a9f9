"""``endofm evaluate classification``: scores of a classifier on labelled videos that it was not trained on."""

from __future__ import annotations

import argparse
from pathlib import Path

from endofm.cli.evaluate import configure_report
from endofm.cli.model_arguments import configure_weights, configure_work, load_for_work

SUMMARY = "score a video classifier on labelled videos"
EXAMPLES = ("endofm evaluate classification test.csv --weights runs/polyps/export -o report/",)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("videos", nargs="+", metavar="LIST", help="list `path,label[,start,end]`, or prepared set")
    configure_weights(parser)
    configure_report(parser, resamples=1000, files="predictions.csv and pictures")
    parser.add_argument("--root", metavar="DIR", help="folder that the lists' paths are relative to")
    parser.add_argument("--split", choices=("train", "val", "test"), help="use this subset of prepared sets only")
    parser.add_argument("--views", type=int, default=1, metavar="N", help="windows per video, averaged (default: 1)")
    parser.add_argument("--crops", type=int, choices=(1, 3), default=1, help="crops per window (default: 1)")
    parser.add_argument(
        "--published-frames", action="store_true", help="choose frames by the published rule, as for published scores"
    )
    work = configure_work(parser, batch_size=8, unit="clips")
    work.add_argument("--num-workers", type=int, default=2, metavar="N", help="processes that read (default: 2)")


def run(args: argparse.Namespace) -> int:
    """Evaluate and print the table."""
    import numpy as np

    from endofm.arguments import integer_argument
    from endofm.data.listing import read_clips
    from endofm.errors import InputError, require_extra
    from endofm.tasks.classification.model import EndoFMForVideoClassification

    require_extra("torchmetrics", "train", "Evaluating a classifier")
    from endofm.data.class_targets import Targets
    from endofm.evaluation.bootstrap import BootstrapSettings
    from endofm.evaluation.classification_report import ClassificationReport
    from endofm.evaluation.run_classifier import run_classifier

    # Before the model is loaded and run: what is wrong with an option is wrong at once.
    intervals = BootstrapSettings(resamples=args.resamples)
    integer_argument(args.views, "views")
    model = load_for_work(EndoFMForVideoClassification, args)
    head = model.head_config
    # With several labels per video a list writes "a+b", so that the labels in it are not the classes of the model.
    classes = None if head.multi_label else head.labels
    table = read_clips(*args.videos, classes=classes, root=args.root, missing="leave out")
    if args.split is not None:
        table = table.take(np.array([split == args.split for split in table.split], bool))
    if not len(table):
        raise InputError(f"{', '.join(args.videos)}: there are no clips of the subset {args.split!r} in it")
    targets = Targets.of(table.classes, multi_label=head.multi_label, classes=head.labels)
    predictions = run_classifier(
        model,
        table,
        targets,
        head,
        model.config.preprocess,
        published_frames=args.published_frames,
        views=args.views,
        crops=args.crops,
        batch_size=args.batch_size,
        num_workers=args.num_workers,
    )
    settings = {
        "weights": model.config.name or Path(args.weights).name,
        "weights_sha256": model.provenance.get("sha256", ""),
        "views": {"time": args.views, "crops": args.crops, "rule": "published" if args.published_frames else "even"},
        "clips": len(table),
        "precision": model.precision,
    }
    unread = len(table) - len(predictions)
    notes = [
        *table.notes,
        *([f"{unread} of {len(table)} clips could not be decoded and were left out."] if unread else []),
    ]
    if not model.config.trained:
        notes.append("The classifier was not trained: this shows what chance gives.")
    report = ClassificationReport.of(predictions, settings=settings, notes=notes, bootstrap=intervals)
    if args.out is not None:
        report.save(args.out)
    print(report.summary())
    return 0
