"""Which start gives the best masks at equal budget? ``python benchmarks/segmentation_study --size mini``.

Renders synthetic clips, pre-trains one small encoder by each objective (or takes those that are named), fine-tunes mask
models from every start over several seeds with the same number of steps, scores them on patients that no training saw,
and writes ``<size>.json``, a table and a picture. Finished cells are kept: the same command goes on after an
interruption, and more seeds or arms cost only themselves. ``--fill-docs`` puts a summary into
docs/segmentation_study.md.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path

from cells import Cell, pretrained, run_cell
from report import fill_page, markdown, save, summarize
from settings import SIZES, StudyConfig

from endofm.progress import progress_bar
from endofm.synthetic.rendered_set import write_set
from endofm.training.config_files import load_config

HERE = Path(__file__).resolve().parent
PAGE = HERE.parents[1] / "docs" / "segmentation_study.md"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study, or fill its page; returns the exit status."""
    parser = argparse.ArgumentParser(prog="segmentation_study", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--size", choices=SIZES, default="mini", help="a configuration beside this file (default: mini)"
    )
    parser.add_argument("--config", type=Path, help="another configuration file")
    parser.add_argument("--out", type=Path, help="folder of the study (default: runs/segmentation_study/<size>)")
    parser.add_argument("--workers", type=int, default=1, help="processes that render (default: 1)")
    parser.add_argument(
        "--media",
        type=Path,
        default=os.environ.get("ENDOFM_MEDIA"),
        help="folder with animated_stills/, for a line of sanity on real pictures (default: ENDOFM_MEDIA)",
    )
    parser.add_argument("--fill-docs", type=Path, metavar="JSON", help="fill the page from a summary, and run nothing")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="settings, e.g. seeds=[0,1] steps=200")
    args = parser.parse_intermixed_args(arguments)
    if args.fill_docs:
        summary = json.loads(args.fill_docs.read_text(encoding="utf-8"))
        command = f"python benchmarks/segmentation_study --fill-docs {os.path.relpath(args.fill_docs)}"
        fill_page(PAGE, summary, command=command, sheets=args.fill_docs.parent)
        return 0
    name = args.config.stem if args.config else args.size
    study = load_config(StudyConfig, args.config or HERE / f"{args.size}.yaml", args.overrides)
    root = args.out or Path("runs/segmentation_study") / name
    for part, settings in study.data.sets().items():
        write_set(root / part, settings, workers=args.workers)
    for objective in study.objectives_needed():
        pretrained(study, root, objective)
    cells = [Cell(study, root, arm, seed, args.media) for seed in study.seeds for arm in study.arms]
    results = []
    with progress_bar(total=len(cells), description="cells", unit="cell") as bar:
        for cell in cells:
            results.append(run_cell(cell))
            bar.update(1)
    source = f"--config {args.config}" if args.config else f"--size {args.size}"
    command = " ".join(["python benchmarks/segmentation_study", source, *args.overrides])
    summary = summarize(study, results, command=command)
    paths = save(summary, root, name)
    print(markdown(summary))
    print("\n".join(str(path) for path in paths))
    return 0
