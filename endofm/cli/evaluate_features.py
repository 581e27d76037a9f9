"""``endofm evaluate features``: scores of simple classifiers on saved features."""

from __future__ import annotations

import argparse
from pathlib import Path

from endofm.address import located
from endofm.cli.evaluate import configure_report, finish_seeds, require_seeds

SUMMARY = "k-NN, linear probe or few-shot prototypes on saved features, split by patient or video"
EXAMPLES = ("endofm evaluate features features/ --labels labels.csv --method linear -o report/",)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("features", type=located, help="folder written by `endofm extract`, or its address (s3://)")
    parser.add_argument(
        "--labels", type=Path, required=True, metavar="LIST", help="manifest, or list `path,label[,start,end]`"
    )
    parser.add_argument(
        "--test", type=Path, metavar="LIST", help="list of the test set; cross-validation over --labels without one"
    )
    parser.add_argument("--test-features", type=located, metavar="DIR", help="its features (default: the same folder)")
    parser.add_argument("--classes", metavar="A,B,...", help="names of the classes in order (default: as listed)")
    parser.add_argument("--method", choices=("knn", "linear", "prototypes"), default="knn", help="(default: knn)")
    parser.add_argument("--k", type=int, default=20, metavar="N", help="neighbours of k-NN (default: 20)")
    parser.add_argument("--shots", type=int, metavar="N", help="train on N patients or videos per class only")
    parser.add_argument("--folds", type=int, default=5, metavar="N", help="folds of the cross-validation (default: 5)")
    parser.add_argument(
        "--unit",
        choices=("item", "clip"),
        default="item",
        help="unit that counts once: labelled video or clip (default: item)",
    )
    parser.add_argument(
        "--seeds",
        type=int,
        default=1,
        metavar="N",
        help="repeat with N seeds, for mean and deviation (default: 1)",
    )
    configure_report(parser, resamples=1000, files="predictions.csv and pictures")


def run(args: argparse.Namespace) -> int:
    """Evaluate and print the table."""
    from endofm.errors import InputError
    from endofm.evaluation.feature_evaluation import FeatureEvaluation, evaluate_features
    from endofm.evaluation.labelled_features import load_labelled

    require_seeds(args.seeds)
    classes = [name.strip() for name in args.classes.split(",")] if args.classes else None
    data = load_labelled(args.features, args.labels, classes=classes)
    test = None
    if args.test is not None:
        test = load_labelled(args.test_features or args.features, args.test, classes=data.classes)
    elif args.test_features is not None:
        raise InputError("--test-features needs the list of the test set (--test)")
    reports = []
    for seed in range(args.seeds):
        how = FeatureEvaluation(
            method=args.method,
            unit=args.unit,
            folds=args.folds,
            shots=args.shots,
            seed=seed,
            k=args.k,
            resamples=args.resamples,
        )
        report = evaluate_features(data, test, how=how, settings={"labels": args.labels.name})
        reports.append(report.to_dict())
        if args.out is not None:
            report.save(args.out if args.seeds == 1 else args.out / f"seed-{seed}")
    if args.seeds == 1:
        print(report.summary())
    else:
        finish_seeds(reports, args.out)
    return 0
