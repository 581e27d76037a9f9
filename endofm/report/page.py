"""Pages of a report as HTML: one file that loads nothing, and in which every name is data.

Names of files and labels come from anywhere. Jinja escapes them in text and attributes, ``tojson`` in the data of the
charts, percent-encoding in links; control characters and marks of direction are written out. By the page's
Content-Security-Policy a browser runs the scripts of this package, known by their hashes, and nothing else: no other
script, no evaluation of strings, no request.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from endofm._version import __version__
from endofm.disclaimer import DISCLAIMER
from endofm.errors import require_extra, visible
from endofm.output_place import OutputPlace
from endofm.report.charts import similarity_chart, task_chart, timeline_chart
from endofm.report.contents import ProcedureReport
from endofm.report.task_sections import Span, weights_name
from endofm.tasks.features.results import clock

_TEMPLATES = Path(__file__).with_name("templates")
_MOST_ROWS = 200
_PURPOSE = "Writing reports"
_NO_ICON = "data:,"
_ICON = re.compile(r'<link rel="icon" href="(data:image/webp;base64,[A-Za-z0-9+/=]*)">')
_ICON_BYTES = 60_000
"""Beginning of a page in which its icon is."""


def render_procedure(
    report: ProcedureReport, *, video: str | None, unlinked: bool = False, index: str | None = None
) -> str:
    """Return the page of one procedure.

    Args:
        report: Its contents.
        video: Address of the video relative to the page, percent-encoded; None for no links.
        unlinked: There are none because video or page is in object storage; the page says so.
        index: Address of the page of all procedures; None for none.

    Raises:
        MissingExtraError: If a package of the extra ``report`` is not installed.
    """
    end = report.end_seconds
    similarity, values = similarity_chart(report.features, end)
    charts = {"chart-timeline": timeline_chart(report), "map": similarity}
    charts.update({f"chart-task-{n}": task_chart(section, end) for n, section in enumerate(report.sections, 1)})
    icon = next((shot.picture.uri for shot in (*report.key_frames, *report.strip) if shot.picture), _NO_ICON)
    if report.strip and report.strip[len(report.strip) // 2].picture is not None:
        icon = report.strip[len(report.strip) // 2].picture.uri  # type: ignore[union-attr]
    untrained = [section.title for section in report.sections if section.untrained]
    if report.features.untrained:
        untrained.insert(0, "features")
    return _render(
        "procedure.html",
        [chart_library(), _asset("theme.js"), _asset("procedure.js")],
        report=report,
        video=video,
        unlinked=unlinked,
        index=index,
        icon=icon,
        untrained=untrained,
        facts=_facts(report),
        twins=_twins(report),
        provenance=_provenance(report),
        provenance_json=json.dumps(report.features.provenance, indent=1, ensure_ascii=False),
        most_rows=_MOST_ROWS,
        data={"charts": charts, "map": values},
    )


def render_index(rows: Sequence[Mapping[str, Any]], left_out: Sequence[tuple[str, str]]) -> str:
    """Return the page of all procedures of a folder.

    Args:
        rows: ``name``, ``href``, ``icon``, ``seconds``, ``segments``, ``results``, ``problems`` and ``error`` of each.
        left_out: Path and sentence for what was found and is none of the videos.

    Raises:
        MissingExtraError: If a package of the extra ``report`` is not installed.
    """
    failed = sum(bool(row["error"]) for row in rows)
    facts = [f"{len(rows) - failed} procedures", f"{clock(sum(row['seconds'] for row in rows))} of video"]
    columns = [("Procedure", ""), ("Status", ""), ("Length", "number"), ("Segments", "number")]
    return _render(
        "index.html",
        [_asset("theme.js"), _asset("index.js")],
        rows=rows,
        left_out=left_out,
        columns=[*columns, ("Results", ""), ("Problems", "")],
        facts=[*facts, *([f"{failed} failed"] if failed else [])],
        icon=_NO_ICON,
        untrained=[],
    )


def read_icon(place: OutputPlace, name: str) -> str:
    """Return the small picture that :func:`render_procedure` has put into the head of a page, or an empty string."""
    try:
        match = _ICON.search(place.read(name, _ICON_BYTES).decode(errors="replace"))
    except OSError:
        return ""
    return match[1] if match else ""


def relative_link(target: Path, page: Path) -> str:
    """Return the address of a file relative to a page, percent-encoded; names that are not UTF-8 keep their bytes."""
    here, there = os.path.realpath(page.parent), os.path.realpath(target)
    try:
        relative = os.path.relpath(there, here)
    except ValueError:  # another drive of Windows
        return Path(there).as_uri()
    # Without the dot, a first part with a colon would be read as a scheme.
    return "./" + quote(os.fsencode(relative).replace(os.sep.encode(), b"/"))


@cache
def chart_library() -> str:
    """Return Vega, Vega-Lite and vega-embed as one script, which defines ``drawChart``; about 0.9 MB.

    Raises:
        MissingExtraError: If vl-convert is not installed.
    """
    library = require_extra("vl_convert", "report", _PURPOSE)
    script: str = library.javascript_bundle("window.drawChart = vegaEmbed;")
    # A script ends at the first end tag, wherever that is.
    return script.replace("</script", "<\\/script").replace("<!--", "<\\!--")


@cache
def _environment() -> Any:
    jinja2 = require_extra("jinja2", "report", _PURPOSE)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(clock=clock, largest=_largest)
    return environment


def _shown(value: Any) -> Any:
    # Strings that are marked as safe are the page's own: templates, styles, scripts, the escaped data of the charts.
    return "\n".join(map(visible, value.split("\n"))) if type(value) is str else value


def _render(template: str, scripts: Sequence[str], **values: Any) -> str:
    from markupsafe import Markup

    style = _asset("style.css")
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}'" for s in scripts)
    policy = (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {hashes}; base-uri 'none'; "
        "form-action 'none'"
    )
    page: str = (
        _environment()
        .get_template(template)
        .render(
            policy=Markup(policy),
            style=Markup(style),
            scripts=[Markup(script) for script in scripts],
            disclaimer=DISCLAIMER,
            version=__version__,
            **values,
        )
    )
    return page


@cache
def _asset(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8")


def _largest(spans: Iterable[Span], n: int) -> list[Span]:
    """Return the spans with the largest values, in order of time."""
    order = sorted(spans, key=lambda span: -max(span.values, default=0.0))[:n]
    return sorted(order)


def _facts(report: ProcedureReport) -> list[str]:
    video = report.features.provenance.get("video") or {}
    facts = [clock(report.end_seconds)]
    if video.get("width"):
        facts.append(f"{video['width']} x {video['height']} pixels")
    if video.get("average_fps"):
        facts.append(f"{video['average_fps']:.4g} frames per second")
    facts += [f"{len(report.segments)} segments", f"encoder: {weights_name(report.features.provenance)}"]
    if report.problems:
        facts.append(f"{len(report.problems)} problems while reading")
    return facts


def _twins(report: ProcedureReport) -> list[tuple[int, float] | None]:
    """Return for every segment the number of the one that resembles it most, and their mean similarity."""
    unit = np.asarray(report.features.normalized().embeddings, np.float64)
    means = np.stack([unit[segment.clips].mean(axis=0) for segment, _ in report.segments])
    similarity = means @ means.T
    np.fill_diagonal(similarity, -np.inf)
    if len(means) < 2:
        return [None] * len(means)
    return [(int(row.argmax()) + 1, float(row.max())) for row in similarity]


def _provenance(report: ProcedureReport) -> list[tuple[str, str]]:
    values = report.features.provenance
    video, windows, weights = (values.get(key) or {} for key in ("video", "windows", "weights"))
    rows = [("Video", report.name)]
    if video.get("size_bytes") is not None:
        rows.append(
            ("File", f"{video['size_bytes']:,} bytes, {video.get('codec', '')} {video.get('pixel_format', '')}")
        )
    rows.append(("Encoder", weights_name(values)))
    if weights.get("sha256"):
        rows.append(("Checksum of the weights", f"sha256 {weights['sha256']}"))
    rows += [(f"{section.title} weights", section.weights) for section in report.sections]
    if windows:
        rows.append(
            ("Clip windows", ", ".join(f"{key} {value}" for key, value in windows.items() if value is not None))
        )
    if values.get("precision"):
        rows.append(("Precision", str(values["precision"])))
    rows.append(("Library", ", ".join(f"{key} {value}" for key, value in (values.get("library") or {}).items())))
    return rows
