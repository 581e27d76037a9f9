"""``endofm evaluate detection``: scores of a detector on videos with boxes."""

from __future__ import annotations

import argparse
from pathlib import Path

from endofm.cli.evaluate import configure_report, finish_seeds, require_seeds
from endofm.cli.model_arguments import configure_weights, configure_work, load_for_work

SUMMARY = "score a detector on videos with boxes: average precision, localisation, presence, alarms, lesions"
EXAMPLES = ("endofm evaluate detection prepared-kumc/ --split val --weights runs/boxes/export -o report/",)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("data", type=Path, help="COCO .json, or a folder in the published layout")
    parser.add_argument("--split", default="", metavar="NAME", help="subset of a folder: train, val or test")
    configure_weights(parser)
    configure_report(parser, resamples=500, files="videos.csv and pictures")
    parser.add_argument("--threshold", type=float, default=0.5, metavar="S", help="score that counts (default: 0.5)")
    parser.add_argument("--fps", type=float, default=30.0, help="frame rate where the set gives none (default: 30)")
    parser.add_argument("--clip-boxes", action="store_true", help="cut true boxes at the image edge, not refuse them")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="run on every n-th frame (default: 1)")
    parser.add_argument("--online", action="store_true", help="use earlier frames only")
    parser.add_argument("--no-refinement", action="store_true", help="use no supports")
    parser.add_argument("--seeds", type=int, default=1, metavar="N", help="repeat random supports with N seeds")
    configure_work(parser, batch_size=2, unit="frames")


def run(args: argparse.Namespace) -> int:
    """Evaluate and print the table."""
    from dataclasses import asdict, replace

    from endofm import EndoFMForDetection
    from endofm.data.detection.open_set import open_detection_set
    from endofm.evaluation.bootstrap import BootstrapSettings
    from endofm.evaluation.detection_report import DetectionReport
    from endofm.evaluation.run_detector import run_detector

    require_seeds(args.seeds)
    intervals = BootstrapSettings(resamples=args.resamples)
    model = load_for_work(EndoFMForDetection, args)
    data = open_detection_set(args.data, args.split, labels=model.labels, fps=args.fps, clip=args.clip_boxes)
    plan = replace(model.support_plan(), online=args.online)
    if args.no_refinement:
        plan = replace(plan, pattern="spread", count=0)
    # Published supports are drawn at random: several seeds show how much the scores depend on the draw.
    reports = []
    for seed in range(args.seeds):
        plan = replace(plan, seed=seed)
        left_out: list[str] = []
        results = run_detector(
            model,
            data,
            every=args.every,
            notes=left_out,
            supports=plan,
            batch_size=args.batch_size,
        )
        settings = {
            "data": Path(data.name).name,
            "split": args.split,
            "weights": model.provenance.get("record") or Path(args.weights).name,
            "weights_sha256": model.provenance.get("sha256", ""),
            "supports": asdict(plan),
            "every": args.every,
            "precision": model.precision,
        }
        report = DetectionReport.of(
            results,
            threshold=args.threshold,
            settings=settings,
            notes=[*data.notes[:20], *left_out],
            bootstrap=intervals,
        )
        reports.append(report.to_dict())
        if args.out is not None:
            report.save(args.out if args.seeds == 1 else args.out / f"seed-{seed}")
        if args.seeds == 1:
            print(report.summary())
    if args.seeds > 1:
        finish_seeds(reports, args.out)
    return 0
