"""Charts of a report as Vega-Lite specifications, whose texts and grid take the colours of the page."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from endofm.errors import visible
from endofm.report.contents import ProcedureReport
from endofm.report.task_sections import TaskSection
from endofm.tasks.features.moments import clip_borders
from endofm.tasks.features.results import VideoFeatures, clock
from endofm.video.frames import Float64Array, UInt8Array
from endofm.visualize.figures import clock_step

Spec = dict[str, Any]

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
MAP_SIDE = 240
"""Largest number of rows of the picture of the similarity map."""

# Okabe and Ito's colours for colour-blind readers (jfly.uni-koeln.de/color), the blue lighter, for dark pages.
COLOURS = ("#1f86c8", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_TICKS = 10
_LABEL_WIDTH = 0.05
"""Width of a time on a chart, as a fraction of the chart."""

_MOST_POINTS = 1500
_READ_SIDE = 60

# The page prints seconds as h:mm:ss by the same rule as the rest of the package.
_CLOCK = (
    "(datum.value >= 3600 ? floor(datum.value / 3600) + ':' : '') + "
    "(datum.value >= 3600 ? pad('' + floor(datum.value % 3600 / 60), 2, '0', 'left') : floor(datum.value / 60)) + ':' "
    "+ pad('' + floor(datum.value % 60), 2, '0', 'left')"
)


def timeline_chart(report: ProcedureReport) -> Spec:
    """Return the novelty of a procedure over time, with its segments and marked peaks."""
    features, end = report.features, report.end_seconds
    times, curve = clip_borders(features.start_seconds, features.end_seconds)[:-1], features.novelty()
    step = -(-len(curve) // _MOST_POINTS)
    # The largest of each group, so that no peak is lost.
    starts = np.arange(0, len(curve), step)
    values = [
        {"s": round(float(s), 2), "v": round(float(v), 4), "t": clock(s)}
        for s, v in zip(times[starts], np.maximum.reduceat(curve, starts), strict=True)
    ]
    top = max(float(curve.max()), 1e-3) * 1.45
    segments = [
        {
            "a": segment.start_seconds,
            "b": segment.end_seconds,
            "m": (segment.start_seconds + segment.end_seconds) / 2,
            "n": str(number),
            "odd": number % 2,
            "t": f"{clock(segment.start_seconds)} to {clock(segment.end_seconds)}",
        }
        for number, (segment, _) in enumerate(report.segments, 1)
    ]
    peaks: list[dict[str, Any]] = []
    for peak, _ in report.peaks:
        # Times of neighbours would be written over each other: every other one is a line higher.
        near = bool(peaks) and peak.seconds - peaks[-1]["s"] < _LABEL_WIDTH * end
        row = 1 - peaks[-1]["row"] if near else 0
        peaks.append({"s": peak.seconds, "v": peak.novelty, "t": clock(peak.seconds), "row": row})
    x = {**_time_axis("s", end), "title": None}
    y = {"field": "v", "type": "quantitative", "title": "novelty", "scale": {"domain": [0, top]}, "axis": _y_axis()}
    tooltip = [{"field": "t", "title": "time"}, {"field": "v", "title": "novelty", "format": ".3f"}]
    return _chart(
        190,
        [
            {
                "data": {"values": segments},
                "mark": {"type": "rect", "fill": "currentColor"},
                "encoding": {
                    "x": {**_time_axis("a", end), "title": None},
                    "x2": {"field": "b"},
                    "opacity": {
                        "field": "odd",
                        "type": "quantitative",
                        "scale": {"range": [0.03, 0.1]},
                        "legend": None,
                    },
                    "tooltip": [{"field": "n", "title": "segment"}, {"field": "t", "title": "time"}],
                },
            },
            {
                "data": {"values": segments},
                "mark": {"type": "text", "y": 9, "fontSize": 11, "fontWeight": "bold", "fill": "currentColor"},
                "encoding": {"x": _time_axis("m", end), "text": {"field": "n"}},
            },
            {
                "data": {"values": values},
                "mark": {"type": "area", "color": COLOURS[0], "opacity": 0.45, "line": {"color": COLOURS[0]}},
                "encoding": {"x": x, "y": y},
            },
            {
                "data": {"values": values},
                "params": [
                    {
                        "name": "pointed",
                        "select": {
                            "type": "point",
                            "on": "pointermove",
                            "nearest": True,
                            "encodings": ["x"],
                            "clear": "pointerout",
                        },
                    }
                ],
                "mark": {"type": "point", "filled": True, "size": 60, "color": COLOURS[0]},
                "encoding": {
                    "x": x,
                    "y": y,
                    "opacity": {"condition": {"param": "pointed", "empty": False, "value": 1}, "value": 0},
                    "tooltip": tooltip,
                },
            },
            {
                "data": {"values": peaks},
                "mark": {"type": "point", "shape": "triangle-down", "filled": True, "size": 80, "color": COLOURS[1]},
                "encoding": {"x": x, "y": y, "tooltip": tooltip},
            },
            *(
                {
                    "data": {"values": [peak for peak in peaks if peak["row"] == row]},
                    "mark": {"type": "text", "dy": -11 - 13 * row, "fontSize": 11, "fill": "currentColor"},
                    "encoding": {"x": x, "y": y, "text": {"field": "t"}},
                }
                for row in (0, 1)
            ),
        ],
    )


def task_chart(section: TaskSection, end: float) -> Spec:
    """Return the values of a task over time, a step curve per label."""
    rows = [
        {"s": round(seconds, 2), "v": round(value, 4), "l": visible(label), "t": span_text}
        for span in section.spans
        for span_text in [f"{clock(span.start_seconds)} to {clock(span.end_seconds)}"]
        for label, value in zip(section.labels, span.values, strict=True)
        for seconds in (span.start_seconds, span.end_seconds)
    ]
    labels = [visible(label) for label in section.labels]
    colour = {
        "field": "l",
        "type": "nominal",
        "title": None,
        "scale": {"domain": labels, "range": [COLOURS[index % len(COLOURS)] for index in range(len(labels))]},
        "legend": {"orient": "top"} if len(labels) > 1 else None,
    }
    largest = max((value for span in section.spans for value in span.values), default=0.0)
    top = 1.0 if section.measure != "share of the frame" else max(largest * 1.1, 0.01)
    x = _time_axis("s", end)
    y = {
        "field": "v",
        "type": "quantitative",
        "title": section.measure,
        "scale": {"domain": [0, top]},
        "axis": _y_axis(),
    }
    tooltip = [
        {"field": "l", "title": "label"},
        {"field": "t", "title": "time"},
        {"field": "v", "title": section.measure, "format": ".3f"},
    ]
    data = {"values": rows}
    return _chart(
        150,
        [
            {"data": data, "mark": {"type": "line", "strokeWidth": 1.8}, "encoding": {"x": x, "y": y, "color": colour}},
            {
                "data": data,
                "mark": {"type": "point", "filled": True, "opacity": 0, "size": 90},
                "encoding": {"x": x, "y": y, "color": colour, "tooltip": tooltip},
            },
        ],
    )


def similarity_chart(features: VideoFeatures, end: float) -> tuple[Spec, dict[str, Any]]:
    """Return the similarity map: a picture between axes of time, and the values that the page shows at the pointer.

    Returns:
        The specification, and ``{"end", "side", "values"}`` with a coarser map of percentages, row by row.
    """
    picture = _image_uri(_map_colours(_averaged(features, MAP_SIDE)))
    axis = {"type": "quantitative", "scale": {"domain": [0, end], "nice": False}}
    point = {"data": {"values": [{"s": 0, "e": end}, {"s": end, "e": 0}]}}
    spec = _chart(
        480,
        [
            {
                "mark": {
                    "type": "image",
                    "url": picture,
                    "x": 0,
                    "y": 0,
                    "width": {"expr": "width"},
                    "height": {"expr": "height"},
                    "align": "left",
                    "baseline": "top",
                    "aspect": False,
                    "smooth": False,
                },
                "data": {"values": [{}]},
            },
            {
                **point,
                "mark": {"type": "point", "opacity": 0},
                "encoding": {
                    "x": _time_axis("s", end),
                    "y": {
                        **axis,
                        "field": "s",
                        "title": "time",
                        "scale": {"domain": [0, end], "nice": False, "reverse": True},
                        "axis": {
                            **_y_axis(),
                            "values": _ticks(end),
                            "labelExpr": _CLOCK,
                            "grid": False,
                            "labelOverlap": False,
                        },
                    },
                },
            },
        ],
    )
    coarse = _averaged(features, _READ_SIDE)
    return spec, {
        "end": end,
        "side": len(coarse),
        "values": [round(100 * float(value)) for value in coarse.ravel()],
    }


def _chart(height: int, layers: Sequence[Spec]) -> Spec:
    return {
        "$schema": SCHEMA,
        "width": "container",
        "height": height,
        "background": None,
        "autosize": {"type": "fit-x", "contains": "padding"},
        "padding": {"left": 2, "right": 8, "top": 6, "bottom": 2},
        "layer": list(layers),
        "config": {
            # SVG takes these from the page, so that light, dark and print need no second drawing.
            "font": "inherit",
            "view": {"stroke": None},
            "axis": {
                "labelColor": "currentColor",
                "titleColor": "currentColor",
                "domainColor": "currentColor",
                "tickColor": "currentColor",
                "gridColor": "currentColor",
                "gridOpacity": 0.12,
                "domainOpacity": 0.4,
                "tickOpacity": 0.4,
                "labelFontSize": 11,
                "titleFontWeight": "normal",
                "titleFontSize": 12,
            },
            "legend": {"labelColor": "currentColor", "labelFontSize": 12, "labelLimit": 320, "symbolStrokeWidth": 3},
        },
    }


def _time_axis(field: str, end: float) -> Spec:
    return {
        "field": field,
        "type": "quantitative",
        "title": "time",
        "scale": {"domain": [0, end], "nice": False},
        "axis": {"values": _ticks(end), "labelExpr": _CLOCK, "grid": False},
    }


def _y_axis() -> Spec:
    # The same width in all charts, so that times are below each other.
    return {"minExtent": 34, "maxExtent": 34, "tickCount": 4}


def _ticks(end: float) -> list[int]:
    return list(range(0, int(end) + 1, clock_step(end, _TICKS)))


def _averaged(features: VideoFeatures, side: int) -> Float64Array:
    """Return the self-similarity of the video over time, of equal parts if there are more clips than ``side``."""
    unit = np.asarray(features.normalized().embeddings, np.float64)
    edges = np.unique(np.linspace(0, len(unit), min(side, len(unit)) + 1).astype(np.intp))
    # The mean of the cosines of two parts is the product of their mean directions.
    means = np.add.reduceat(unit, edges[:-1], axis=0) / np.diff(edges)[:, None]
    return np.asarray(np.clip(means @ means.T, -1, 1), np.float64)


def _map_colours(similarity: Float64Array) -> UInt8Array:
    # The colours start at a low quantile: a single black frame would otherwise use up the range.
    low = min(float(np.quantile(similarity, 0.02)), 0.999)
    level = np.clip((similarity - low) / (1 - low), 0, 1)
    stops = np.array([(20, 14, 54), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37)], np.float64)
    places = np.linspace(0, 1, len(stops))
    return np.stack([np.interp(level, places, stops[:, channel]) for channel in range(3)], axis=-1).astype(np.uint8)


def _image_uri(pixels: UInt8Array) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).quantize(128).save(buffer, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
