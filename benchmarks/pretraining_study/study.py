"""Which objective learns most from the same computation? ``python benchmarks/pretraining_study --size mini``.

Renders synthetic clips, trains every arm of a configuration for the same number of floating-point operations over
several seeds, scores the frozen features on patients that no training saw, and writes ``<size>.json``, a table and a
plot. Finished cells are kept: the same command goes on after an interruption, and more seeds or arms cost only
themselves. ``--fill-docs`` puts a summary into docs/pretraining_study.md.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from cells import Cell, run_cell
from report import fill_page, markdown, save, summarize
from settings import SIZES, StudyConfig

from endofm.pool import WorkerDied, run_tasks
from endofm.progress import progress_bar
from endofm.synthetic.rendered_set import write_set
from endofm.training.config_files import load_config

HERE = Path(__file__).resolve().parent
PAGE = HERE.parents[1] / "docs" / "pretraining_study.md"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study, or fill its page; returns the exit status."""
    parser = argparse.ArgumentParser(prog="pretraining_study", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--size", choices=SIZES, default="mini", help="a configuration beside this file (default: mini)"
    )
    parser.add_argument("--config", type=Path, help="another configuration file")
    parser.add_argument("--out", type=Path, help="folder of the study (default: runs/pretraining_study/<size>)")
    parser.add_argument("--workers", type=int, default=1, help="cells that are run at the same time (default: 1)")
    parser.add_argument("--fill-docs", type=Path, metavar="JSON", help="fill the page from a summary, and run nothing")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="settings, e.g. budget_tflop=2 seeds=[0,1]")
    args = parser.parse_args(arguments)
    if args.fill_docs:
        summary = json.loads(args.fill_docs.read_text(encoding="utf-8"))
        command = f"python benchmarks/pretraining_study --fill-docs {os.path.relpath(args.fill_docs)}"
        fill_page(PAGE, summary, command=command, picture=Path("images/pretraining-study.png"))
        return 0
    name = args.config.stem if args.config else args.size
    study = load_config(StudyConfig, args.config or HERE / f"{args.size}.yaml", args.overrides)
    root = args.out or Path("runs/pretraining_study") / name
    for part, settings in study.data.sets().items():
        write_set(root / part, settings, workers=args.workers)
    cells = [Cell(study, root, arm, seed) for arm, seed in study.cells()]
    left = [cell for cell in cells if cell.result() is None]
    failed = 0
    with progress_bar(total=len(cells), description="cells", unit="cell") as bar:
        bar.update(len(cells) - len(left))
        # A single worker is this process: nothing to import once more.
        done = run_tasks(run_cell, left, args.workers) if args.workers > 1 else ((c, run_cell(c)) for c in left)
        for cell, result in done:
            bar.update(1)
            if isinstance(result, WorkerDied):
                failed += 1
                print(f"{cell.arm}, seed {cell.seed}: its process was killed (out of memory?)", file=sys.stderr)
    results = [result for cell in cells if (result := cell.result()) is not None]
    source = f"--config {args.config}" if args.config else f"--size {args.size}"
    command = " ".join(["python benchmarks/pretraining_study", source, *args.overrides])
    summary = summarize(study, results, command=command)
    paths = save(summary, root, name)
    print(markdown(summary))
    print("\n".join(str(path) for path in paths))
    return 1 if failed else 0
