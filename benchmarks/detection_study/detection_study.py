"""Which backbone finds polyps best at equal budgets, with and without refinement over frames?

``python benchmarks/detection_study --size mini`` renders videos with exact boxes, pre-trains an encoder per objective
and seed, fine-tunes a detector on each arm for the same number of steps, judges it on patients that no training saw,
with and without refinement, and writes ``<size>.json``, a table and a plot. Finished cells are kept: the same command
goes on after an interruption, and more seeds or arms cost only themselves.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from detection_cells import Cell, run_cell
from detection_report import markdown, save, summarize
from detection_settings import SIZES, StudyConfig

from endofm.pool import WorkerDied, run_tasks
from endofm.progress import progress_bar
from endofm.synthetic.rendered_set import write_set
from endofm.training.config_files import load_config

HERE = Path(__file__).resolve().parent


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study; returns the exit status."""
    parser = argparse.ArgumentParser(prog="detection_study", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--size", choices=SIZES, default="mini", help="a configuration beside this file (default: mini)"
    )
    parser.add_argument("--config", type=Path, help="another configuration file")
    parser.add_argument("--out", type=Path, help="folder of the study (default: runs/detection_study/<size>)")
    parser.add_argument("--workers", type=int, default=1, help="seeds that are run at the same time (default: 1)")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="settings, e.g. epochs=4 seeds=[0,1]")
    args = parser.parse_args(arguments)
    name = args.config.stem if args.config else args.size
    study = load_config(StudyConfig, args.config or HERE / f"{args.size}.yaml", args.overrides)
    root = args.out or Path("runs/detection_study") / name
    for part, settings in study.data.sets().items():
        write_set(root / part, settings, workers=args.workers)
    cells = [Cell(study, root, arm, seed) for seed in study.seeds for arm in study.arms]
    left = [cell for cell in cells if cell.result() is None]
    # Arms of one seed share pre-trained encoders, so a seed is one piece of work.
    pieces = [[cell for cell in left if cell.seed == seed] for seed in study.seeds]
    pieces = [piece for piece in pieces if piece]
    failed = 0
    with progress_bar(total=len(cells), description="cells", unit="cell") as bar:
        bar.update(len(cells) - len(left))
        if args.workers > 1:
            for piece, result in run_tasks(run_piece, pieces, args.workers):
                bar.update(len(piece))
                if isinstance(result, WorkerDied):
                    failed += 1
                    print(f"seed {piece[0].seed}: its process was killed (out of memory?)", file=sys.stderr)
        else:
            # A single worker is this process: nothing to import once more.
            for cell in left:
                run_cell(cell)
                bar.update(1)
    results = [result for cell in cells if (result := cell.result()) is not None]
    source = f"--config {args.config}" if args.config else f"--size {args.size}"
    command = " ".join(["python benchmarks/detection_study", source, *args.overrides])
    summary = summarize(study, results, command=command)
    paths = save(summary, root, name)
    print(markdown(summary))
    print("\n".join(str(path) for path in paths))
    return 1 if failed else 0


def run_piece(cells: Sequence[Cell]) -> int:
    """Run cells one after the other and return how many."""
    for cell in cells:
        run_cell(cell)
    return len(cells)
