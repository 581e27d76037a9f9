"""Command line of the study on real images: ``python -m studies real run``, ``python -m studies real report``."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from endofm.errors import InputError
from endofm.training.config_files import load_config
from studies.real_study.comparison import score_interval
from studies.real_study.kept_results import CellResult, KeptResults, ScoredItems
from studies.real_study.plan import Cell, StudyPlan

HERE = Path(__file__).resolve().parent
CONFIG, RESULTS = HERE / "real.yaml", HERE.parent / "results" / "real-study.json"
PAGE = HERE.parents[1] / "docs" / "real_study.md"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run cells, or draw table and figure from those that are finished; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m studies real", description=__doc__.splitlines()[0])
    parser.add_argument("--config", type=Path, default=CONFIG, help="plan of the study (default: %(default)s)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="file of finished cells (default: %(default)s)")
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="run the next cells; rerun the command to resume")
    run.add_argument("--root", default=os.environ.get("ENDOFM_REAL"), help="folder of images (default: ENDOFM_REAL)")
    run.add_argument("--work", type=Path, default=Path("runs/real-study"), help="folder of runs (default: %(default)s)")
    run.add_argument("--seeds", type=int, nargs="+", help="cells of these seeds alone, to share them among processes")
    run.add_argument("--arms", nargs="+", help="cells of these arms alone")
    run.add_argument("--cells", type=int, help="stop after this number of cells")
    run.add_argument("--minutes", type=float, help="begin no cell after this time")
    report = commands.add_parser("report", help="draw table and figure from the finished cells")
    report.add_argument("--page", type=Path, default=PAGE, help="page with the marks (default: %(default)s)")
    args = parser.parse_args(arguments)
    plan = load_config(StudyPlan, args.config)
    results = KeptResults(args.results)
    if args.command == "report":
        from studies.real_study.report import fill_page

        fill_page(args.page, plan, results)
        return 0
    if not args.root or not Path(args.root).is_dir():
        raise InputError("name the folder of real images with --root or the environment variable ENDOFM_REAL")
    left = [
        cell
        for cell in open_cells(plan, results)
        if (args.seeds is None or cell.seed in args.seeds) and (args.arms is None or cell.arm in args.arms)
    ]
    begun = time.monotonic()
    for done, cell in enumerate(left[: args.cells]):
        if args.minutes is not None and time.monotonic() - begun > 60 * args.minutes:
            break
        result = finish(plan, cell, Path(args.root), args.work, results)
        print(f"{done + 1} of {len(left)} open cells: {cell.name}  {result.score:.3f}  ({result.seconds:.0f} s)")
        sys.stdout.flush()
    return 0


def open_cells(plan: StudyPlan, results: KeptResults) -> list[Cell]:
    """Return the cells that are not finished, in the order in which they are run."""
    finished = {result.cell for result in results.of_plan(plan)}
    return [cell for cell in plan.cells() if cell not in finished]


def finish(plan: StudyPlan, cell: Cell, real: Path, work: Path, results: KeptResults) -> CellResult:
    """Run a cell and add it to the results."""
    import torch

    from studies.real_study.cell_run import run_cell, task_items
    from studies.real_study.tasks import TASKS

    # Cells may run side by side and are compared by seconds of one core.
    torch.set_num_threads(1)
    found = run_cell(plan, cell, real, work)
    scored = [item for item in task_items(cell.task, real, work) if item.part == "val"]
    task = TASKS[cell.task]
    positive = tuple(item.label == task.labels[1] for item in scored) if task.kind == "classification" else ()
    items = ScoredItems(groups=tuple(item.group for item in scored), positive=positive)
    interval = score_interval(items, found["values"], plan.resamples)
    ends = {name: None if value is None else round(value, 5) for name, value in interval.to_dict().items()}
    result = CellResult(
        cell=cell,
        digest=plan.digest(cell),
        score=round(interval.value, 5),
        low=ends["low"],
        high=ends["high"],
        labels=found["labels"],
        seconds=found["seconds"],
        pretraining_seconds=found["pretraining_seconds"],
        values=tuple(found["values"]),
    )
    results.add(result, items)
    return result
