"""``endofm data synth``: a labelled set of rendered endoscopy, for tests, tutorials and studies."""

from __future__ import annotations

import argparse

SUMMARY = "render a labelled synthetic set in the layout that a task reads (no patient data, nothing downloaded)"
EXAMPLES = ("endofm data synth polyps --task classification --clips 120 --size 128",)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("out", metavar="OUT", help="folder for the set; an interrupted run resumes there")
    parser.add_argument(
        "--task",
        required=True,
        choices=("pretrain", "classification", "segmentation", "detection"),
        help="task whose layout is written",
    )
    parser.add_argument("--clips", type=int, required=True, metavar="N", help="number of clips")
    parser.add_argument(
        "--size",
        type=_size,
        default=(112, 112),
        metavar="S",
        help="frame size: S pixels square, or WxH (default: 112)",
    )
    parser.add_argument("--frames", type=int, default=16, metavar="N", help="frames per clip (default: 16)")
    parser.add_argument("--fps", type=float, default=10.0, help="frames per second (default: 10)")
    parser.add_argument(
        "--patients", type=int, metavar="N", help="number of patients (default: one per eight clips, 5 to 60)"
    )
    parser.add_argument(
        "--positive",
        type=float,
        metavar="FRACTION",
        help="fraction of clips with a polyp (default: 0.5; detection 0.8, segmentation 1)",
    )
    parser.add_argument(
        "--difficulty",
        type=float,
        default=0.4,
        metavar="D",
        help="0 (large, raised, well lit polyps) to 1 (small, flat, dim, in view briefly); default: 0.4",
    )
    parser.add_argument("--seed", type=int, default=0, help="random seed (default: 0)")
    parser.add_argument(
        "--split",
        type=_fractions,
        default=(0.6, 0.2, 0.2),
        metavar="A,B,C",
        help="fractions of patients in train, val and test (default: 0.6,0.2,0.2); pre-training has no subsets",
    )
    parser.add_argument(
        "--layout",
        choices=("published", "folders"),
        default="published",
        help="segmentation: TIFF files as in CVC-ClinicDB, or folders of PNG files with a CSV (default: published)",
    )
    parser.add_argument("--workers", type=int, metavar="N", help="number of processes (default: one per processor)")
    parser.add_argument("--overwrite", action="store_true", help="remove the set that OUT holds and start over")


def run(args: argparse.Namespace) -> int:
    """Render the set."""
    from endofm.synthetic.rendered_set import CONTACT_SHEET, write_set
    from endofm.synthetic.set_plan import POSITIVE, SetSettings, default_patients
    from endofm.synthetic.specs import RenderConfig

    width, height = args.size
    settings = SetSettings(
        task=args.task,
        clips=args.clips,
        patients=default_patients(args.clips) if args.patients is None else args.patients,
        positive=POSITIVE[args.task] if args.positive is None else args.positive,
        split=args.split,
        published_layout=args.layout == "published",
        render=RenderConfig(
            width=width,
            height=height,
            num_frames=args.frames,
            fps=args.fps,
            difficulty=args.difficulty,
            seed=args.seed,
        ),
    )
    records = write_set(args.out, settings, workers=args.workers, overwrite=args.overwrite)
    polyps = sum(record.label for record in records)
    print(f"{args.out}: {len(records)} synthetic clips of {settings.patients} patients, {polyps} with a polyp in view")
    print(f"look at {args.out}/{CONTACT_SHEET}")
    return 0


def _size(text: str) -> tuple[int, int]:
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(part.isdigit() for part in parts):
        raise argparse.ArgumentTypeError(
            f"expected a number such as 112, or a width and height such as 512x400, got {text!r}"
        )
    return int(parts[0]), int(parts[-1])


def _fractions(text: str) -> tuple[float, float, float]:
    try:
        train, val, test = (float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected three numbers such as 0.6,0.2,0.2, got {text!r}") from None
    return train, val, test
