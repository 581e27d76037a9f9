"""Put the scores of a comparison into docs/bench.md: the table of all scores, and the figure.

``python recipes/endofm-nano-4x96/fill_page.py RESULTS docs/bench.md docs/images/bench-real-stills.png``
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from endofm.files import write_text

BEGIN, END = "<!-- bench: begin (fill_page.py) -->\n", "<!-- bench: end -->"


def summary(results: Path) -> str:
    """Return the first table of ``results.md``."""
    _, _, rest = results.read_text(encoding="utf-8").partition("## All scores\n")
    table, _, _ = rest.partition("\n## ")
    return table.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path, help="folder written by `endofm bench`")
    parser.add_argument("page", type=Path)
    parser.add_argument("figure", type=Path)
    args = parser.parse_args()
    before, _, rest = args.page.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    write_text(args.page, f"{before}{BEGIN}\n{summary(args.results / 'results.md')}\n\n{END}{after}")
    shutil.copyfile(args.results / "figure.png", args.figure)


if __name__ == "__main__":
    main()
