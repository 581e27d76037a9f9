"""Files of a comparison: Markdown, CSV, JSON, figure, page, and results for the hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from endofm.bench.comparison import BenchResult
from endofm.bench.hub_results import write_hub_results
from endofm.bench.report_figure import draw
from endofm.bench.report_page import page
from endofm.bench.report_tables import COLUMNS, markdown, plain_rows, to_json
from endofm.csv_text import write_table
from endofm.evaluation.report import write_json
from endofm.files import atomic_path, write_text
from endofm.json_text import read_json

RESULTS_NAME = "results.json"


def write_report(result: BenchResult, out: Path) -> list[Path]:
    """Write ``results.md``, ``results.csv``, ``results.json``, ``figure.png``, ``index.html`` and ``hub/``.

    Args:
        result: The comparison.
        out: Folder; files of an earlier report are replaced.

    Returns:
        The files.
    """
    write_text(out / "results.md", markdown(result))
    with atomic_path(out / "results.csv") as temporary:
        write_table(temporary, [COLUMNS, *([row[name] for name in COLUMNS] for row in plain_rows(result))])
    write_json(out / RESULTS_NAME, to_json(result))
    figure = draw(result, out / "figure.png")
    write_text(out / "index.html", page(result, figure))
    tables = [out / name for name in ("results.md", "results.csv", RESULTS_NAME)]
    return [*tables, figure, out / "index.html", *write_hub_results(result, out)]


def read_scores(path: Path) -> dict[str, dict[str, dict[str, Any]]]:
    """Return the scores of a ``results.json``: by encoder, set and name of the score, each with value and interval."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for row in read_json(path)["scores"]:
        interval = {end: row[end] for end in ("value", "low", "high")}
        found.setdefault(row["encoder"], {}).setdefault(row["set"], {})[row["score"]] = interval
    return found
