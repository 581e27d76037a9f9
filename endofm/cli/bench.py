"""``endofm bench``: compare frozen encoders on labelled sets."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from endofm.cli.model_arguments import registered_names
from endofm.cli.parser import offer_names

SUMMARY = "compare frozen encoders on labelled sets, beside controls; rerun the command to resume"
EXAMPLES = (
    "endofm bench --list",
    "endofm bench --weights endofm-nano-4x96,untrained:endofm-nano-4x96 --suite real-stills -o results/",
    "endofm bench --weights runs/mine/export,timm:resnet50.a1_in1k --suite public --root sets/ -o results/",
    "endofm bench --weights runs/mine/export --suite mine.yaml --controls none --root sets/ -o results/",
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    weights = parser.add_argument(
        "--weights",
        nargs="+",
        default=[],
        metavar="NAME,...",
        help="encoders: names, folders, files, timm:NAME, untrained:NAME[:SEED]; the first is the reference of the "
        "paired tests",
    )
    offer_names(weights, registered_names)
    suite = parser.add_argument("--suite", metavar="SUITE", help="YAML file, or a suite of the package; see --list")
    offer_names(suite, _suites)
    parser.add_argument("-o", "--out", type=Path, metavar="DIR", help="folder for tables, figure, page and cells")
    parser.add_argument("--root", metavar="DIR", help="folder of the sets (default: the suite's environment variable)")
    parser.add_argument("--sets", metavar="A,B,...", help="sets of the suite (default: all)")
    parser.add_argument(
        "--controls",
        metavar="A,B,...",
        help="of untrained, histogram, thumbnail, efficientnet-lite0; none for none (default: all)",
    )
    parser.add_argument("--frames", type=int, metavar="N", help="frames of a clip (default: those of the encoder)")
    parser.add_argument(
        "--resamples", type=int, default=1000, metavar="N", help="bootstrap resamples of intervals (default: 1000)"
    )
    parser.add_argument("--device", help="cpu, cuda, cuda:1, mps (default: cpu)")
    parser.add_argument("--local-files-only", action="store_true", help="never touch the network")
    parser.add_argument("--list", action="store_true", help="list suites and sets with what each expects, and exit")


def run(args: argparse.Namespace) -> int:
    """Compare, and write the report."""
    from endofm.errors import InputError, require_extra

    for module in ("yaml", "sklearn", "matplotlib"):
        require_extra(module, "train", "Comparing encoders")
    from endofm.bench.comparison import ALL_CONTROLS, BenchSettings, run_bench, with_controls
    from endofm.bench.suite import load_suite, suite_names

    if args.list:
        for name in [args.suite] if args.suite else suite_names():
            print(_described(name, args.root))
        return 0
    if args.suite is None or args.out is None:
        raise InputError(f"name a suite with --suite ({', '.join(suite_names())}, or a file) and a folder with -o")
    settings = BenchSettings(
        frames=args.frames,
        resamples=args.resamples,
        device=args.device,
        local_files_only=args.local_files_only,
    )
    suite = load_suite(args.suite)
    controls = ALL_CONTROLS if args.controls is None else _names([args.controls])
    specs = with_controls(_names(args.weights), [] if controls == ["none"] else controls)
    result = run_bench(
        suite,
        suite.select(args.sets),
        specs,
        root=suite.root(args.root),
        out=args.out,
        settings=settings,
        say=lambda line: print(line, flush=True),
    )
    from endofm.bench.report_files import write_report

    files = write_report(result, args.out)
    print("\n" + (args.out / "results.md").read_text(encoding="utf-8"))
    print("written: " + ", ".join(map(str, files)))
    return 0


def _suites() -> list[str]:
    from endofm.bench.suite import suite_names

    return suite_names()


def _names(given: Sequence[str]) -> list[str]:
    return [name.strip() for text in given for name in text.split(",") if name.strip()]


def _described(name: str, root: str | None) -> str:
    from endofm.bench.suite import load_suite

    suite = load_suite(name)
    lines = [f"{name}: {suite.title}. Sets below --root or {suite.variable}:"]
    for set_name, config in suite.sets.items():
        state = ""
        if root is not None:
            folder = Path(root) / config.reader.folder
            state = f"  [{'found' if folder.is_dir() else 'not there'}]"
        lines.append(f"  {set_name}: {config.title}, {', '.join(config.score.probes)}{state}")
        lines.append(f"    files: {config.reader.expects()}")
        lines.append(f"    split: {config.split} (source: {config.split_source})")
        if config.obtain:
            lines.append(f"    available at {config.obtain}")
    return "\n".join(lines)
