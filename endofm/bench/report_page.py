"""The report as one HTML page that needs nothing else: no script, no font, no picture from elsewhere."""

from __future__ import annotations

import base64
import html
from pathlib import Path

from endofm._version import __version__
from endofm.bench.comparison import BenchResult
from endofm.bench.report_tables import HOW_TO_READ, Table, tables
from endofm.disclaimer import DISCLAIMER

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --seen: #b45309; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: .2rem; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .4rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .88rem; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid var(--line); text-align: right; vertical-align: top; }
th { background: var(--soft); font-weight: 600; }
th:first-child, td:first-child, .words td, .words th { text-align: left; }
td:first-child { font-family: ui-monospace, monospace; white-space: nowrap; }
tbody tr:hover { background: var(--soft); } .mark { color: var(--seen); font-weight: 600; }
ul { margin: .2rem 0 .6rem; padding-left: 1.2rem; } li { margin: .1rem 0; }
img { max-width: 100%; background: #fff; border: 1px solid var(--line); border-radius: 6px; }
footer { margin-top: 3rem; font-size: .85rem; opacity: .8; }
"""


def page(result: BenchResult, figure: Path) -> str:
    """Return the page.

    Args:
        result: The comparison.
        figure: PNG file that is put into the page.
    """
    picture = base64.b64encode(figure.read_bytes()).decode("ascii")
    first, *others = tables(result)
    title = html.escape(result.suite.title)
    drawn = f'<img alt="Scores with intervals, one panel per set" src="data:image/png;base64,{picture}">'
    parts = [
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{title}</title>',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<style>{_STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>",
        f"<p>{html.escape(result.suite.description)}</p>",
        _table(first),
        f"<h2>Scores with intervals</h2>\n{drawn}",
        "<h2>How to read this</h2>",
        _list(HOW_TO_READ),
        *map(_table, others),
        f"<footer>endofm {__version__}. {html.escape(DISCLAIMER)}</footer>\n</body>\n</html>\n",
    ]
    return "\n".join(parts)


def _table(table: Table) -> str:
    head = "".join(f"<th>{html.escape(name)}</th>" for name in table.header)
    rows = ("".join(f"<td>{_cell(text)}</td>" for text in row) for row in table.rows)
    body = "\n".join(f"<tr>{row}</tr>" for row in rows)
    # Sentences read better from the left, numbers from the right.
    words = ' class="words"' if any(len(text) > 40 for row in table.rows for text in row[1:]) else ""
    return (
        f"<h2>{html.escape(table.title)}</h2>\n{_list(table.notes) if table.notes else ''}"
        f'<div class="scroll"><table{words}><thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>'
    )


def _cell(text: str) -> str:
    value, blank, mark = text.rpartition(" ")
    if blank and mark in ("seen", "?") and (value[:1].isdigit()):
        return f'{html.escape(value)} <span class="mark">{mark}</span>'
    return html.escape(text)


def _list(texts: tuple[str, ...]) -> str:
    return "<ul>" + "".join(f"<li>{html.escape(text)}</li>" for text in texts) + "</ul>\n"
